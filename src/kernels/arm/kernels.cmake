# Kernels of 64-bit ARM. A file's suffix names its instruction set and so chooses its flags.
set(neon_dotprod_flags -march=armv8.2-a+dotprod)
set(neon_i8mm_flags -march=armv8.2-a+dotprod+i8mm)

target_sources(igq_kernels PRIVATE arm/instruction_sets.cc arm/rows_neon.cc arm/bytes_neon.cc arm/bytes_neon_dotprod.cc
  arm/bytes_neon_i8mm.cc)
set_source_files_properties(arm/bytes_neon_dotprod.cc PROPERTIES COMPILE_OPTIONS "${neon_dotprod_flags}")
set_source_files_properties(arm/bytes_neon_i8mm.cc PROPERTIES COMPILE_OPTIONS "${neon_i8mm_flags}")
