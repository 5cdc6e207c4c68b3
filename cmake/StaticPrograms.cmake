# With IGQ_STATIC programs are linked whole, the C library and the codecs too, so that they run where they are copied to. Included
# before any library is looked for; igq_static_codecs() names what the codecs' archives need of others, which shared ones know by themselves.
set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
string(APPEND CMAKE_EXE_LINKER_FLAGS " -static")

function(igq_static_codecs)
  foreach(name webp zstd lzma jbig Lerc deflate)
    find_library(IGQ_STATIC_${name} ${name} REQUIRED)
    target_link_libraries(TIFF::TIFF INTERFACE ${IGQ_STATIC_${name}})
  endforeach()
  target_link_libraries(TIFF::TIFF INTERFACE JPEG::JPEG ZLIB::ZLIB m)
  target_link_libraries(PNG::PNG INTERFACE m)
  target_link_libraries(WebP::webp INTERFACE m)
endfunction()

# fmt as an archive, which Debian's package lacks; g++ alone keeps what its headers define.
function(igq_static_fmt)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_library(igq_static_fmt INTERFACE)
    target_link_libraries(igq_static_fmt INTERFACE fmt::fmt-header-only)
    return()
  endif()
  add_library(igq_static_fmt STATIC ${PROJECT_SOURCE_DIR}/cmake/static_fmt/fmt.cc)
  target_include_directories(igq_static_fmt PUBLIC
    $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_options(igq_static_fmt PRIVATE -O2 -fkeep-inline-functions -ffunction-sections)
endfunction()
