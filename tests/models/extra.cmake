# Counts every allocation of its process, so it must be alone in it; sanitizers bring their own allocator.
if(NOT IGQ_SANITIZE)
  add_executable(test_no_allocation ${CMAKE_CURRENT_LIST_DIR}/allocation/no_allocation_test.cc)
  igq_tests(test_no_allocation models igq_models)
endif()
