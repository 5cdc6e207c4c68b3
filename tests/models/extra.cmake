# Counts every allocation of its process, so it must be alone in it; sanitizers bring their own allocator.
if(NOT IGQ_SANITIZE)
  add_executable(test_no_allocation ${CMAKE_CURRENT_LIST_DIR}/allocation/no_allocation_test.cc)
  igq_compile_options(test_no_allocation)
  target_include_directories(test_no_allocation PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(test_no_allocation PRIVATE igq_models GTest::gtest_main)
  gtest_discover_tests(test_no_allocation PROPERTIES TIMEOUT 600 DISCOVERY_TIMEOUT 60)
endif()
