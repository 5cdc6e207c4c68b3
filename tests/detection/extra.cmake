# The fixtures of whole detectors are .npz archives (tests/npz.h) and PNG files.
find_package(ZLIB REQUIRED)
target_link_libraries(test_detection PRIVATE ZLIB::ZLIB igq_io)
