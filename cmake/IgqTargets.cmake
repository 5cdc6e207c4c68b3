# Helpers shared by every folder: warnings as errors, sanitizers, and a target made of a folder's files.

function(igq_compile_options target)
  # Instrumented code draws warnings about what is not there; they end builds without sanitizers only.
  if(IGQ_SANITIZE)
    set(errors)
  else()
    set(errors -Werror)
  endif()
  # -ffp-contract=off: a float expression means the same on every instruction set; fused multiply-adds are written out.
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
    ${errors} -ffp-contract=off $<$<CONFIG:Release>:-O3>)
  if(CMAKE_UNITY_BUILD)
    target_compile_options(${target} PRIVATE -Wno-shadow)  # of names that another file brings
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 reports false positives of these inside its own standard library at -O3.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow
      -Wno-stringop-overread -Wno-maybe-uninitialized)
  endif()
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    target_compile_options(${target} PRIVATE -fsigned-char)  # as on x86, where it is the default
  endif()
  if(IGQ_PLAIN_POSIX)
    target_compile_options(${target} PRIVATE -U__linux__)
  endif()
  if(IGQ_BUILD_FUZZERS)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(IGQ_SANITIZE)
    string(REPLACE ";" "," kinds "${IGQ_SANITIZE}")
    target_compile_options(${target} PRIVATE -fsanitize=${kinds} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${kinds})
  endif()
endfunction()

# igq_folder(name [deps...]): the static library igq_<name> of all .cc files of src/<name>.
function(igq_folder name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  add_library(igq_${name} STATIC ${sources})
  igq_compile_options(igq_${name})
  target_include_directories(igq_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_link_libraries(igq_${name} PUBLIC ${ARGN})
  if(name STREQUAL "kernels")
    set_target_properties(igq_kernels PROPERTIES UNITY_BUILD OFF)  # each file has the flags of its instruction set
  endif()
endfunction()
