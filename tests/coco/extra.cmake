find_package(ZLIB REQUIRED)
target_link_libraries(test_coco PRIVATE ZLIB::ZLIB)
