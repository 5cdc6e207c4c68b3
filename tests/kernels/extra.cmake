# The kernel files of instruction sets beyond AVX2 once more, emulated with AVX2 (emulated_intrinsics.h), under the names fill_*_emulated.
# Sanitized builds do without: what is emulated is not what runs there.
find_path(SIMDE_INCLUDE_DIR simde/x86/avx512.h)
if(IGQ_ARCHITECTURE STREQUAL "x86" AND SIMDE_INCLUDE_DIR AND NOT IGQ_SANITIZE)
  set(x86 ${PROJECT_SOURCE_DIR}/src/kernels/x86)
  set(emulated_sources ${x86}/rows_avx512.cc ${x86}/bytes_avx512.cc ${x86}/bytes_avx512_vnni.cc ${x86}/bytes_avx_vnni.cc
    ${x86}/bytes_amx.cc)
  add_library(kernels_emulated_avx512 OBJECT ${emulated_sources})
  igq_compile_options(kernels_emulated_avx512)
  set_target_properties(kernels_emulated_avx512 PROPERTIES UNITY_BUILD OFF)
  target_compile_options(kernels_emulated_avx512 PRIVATE -mavx2 -mfma -mf16c -Wno-psabi -Wno-pedantic)
  target_include_directories(kernels_emulated_avx512 PRIVATE ${CMAKE_CURRENT_LIST_DIR}
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(kernels_emulated_avx512 SYSTEM PRIVATE ${SIMDE_INCLUDE_DIR})
  target_compile_definitions(kernels_emulated_avx512 PRIVATE IGQ_EMULATE_AVX512
    fill_float_kernels_avx512=fill_float_kernels_avx512_emulated
    fill_byte_kernels_avx_vnni=fill_byte_kernels_avx_vnni_emulated
    fill_byte_kernels_avx512=fill_byte_kernels_avx512_emulated
    fill_byte_kernels_avx512_vnni=fill_byte_kernels_avx512_vnni_emulated
    fill_byte_kernels_amx=fill_byte_kernels_amx_emulated)
  target_sources(test_kernels PRIVATE $<TARGET_OBJECTS:kernels_emulated_avx512>)
  target_compile_definitions(test_kernels PRIVATE IGQ_TEST_EMULATED_AVX512)
endif()
