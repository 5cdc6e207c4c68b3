# libwebp and libwebpdemux as WebP::webp and WebP::webpdemux: Debian's packages bring no CMake configuration.
find_path(WEBP_INCLUDE_DIR webp/demux.h)
find_library(WEBP_LIBRARY webp)
find_library(WEBPDEMUX_LIBRARY webpdemux)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(WebP REQUIRED_VARS WEBP_LIBRARY WEBPDEMUX_LIBRARY WEBP_INCLUDE_DIR)
foreach(name webp webpdemux)
  string(TOUPPER ${name} upper)
  if(WebP_FOUND AND NOT TARGET WebP::${name})
    add_library(WebP::${name} UNKNOWN IMPORTED)
    set_target_properties(WebP::${name} PROPERTIES
      IMPORTED_LOCATION ${${upper}_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${WEBP_INCLUDE_DIR})
  endif()
endforeach()
