# Counts every allocation of its process, so it must be alone in it; sanitizers bring their own allocator.
if(NOT IGQ_SANITIZE)
  add_executable(test_no_allocation ${CMAKE_CURRENT_LIST_DIR}/allocation/no_allocation_test.cc)
  igq_tests(test_no_allocation models igq_models)
  # It replaces operator new and delete by malloc and free; g++ 12 takes inlined ones for a pair that does not fit.
  target_compile_options(test_no_allocation PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
endif()
