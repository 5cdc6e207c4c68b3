# The fixtures of whole detectors are .npz archives (tests/npz.h).
find_package(ZLIB REQUIRED)
target_link_libraries(test_detectors PRIVATE ZLIB::ZLIB)
