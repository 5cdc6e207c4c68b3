# Cross build for 64-bit ARM on Debian (scripts/setup --aarch64 installs what it needs); programs run in qemu's user emulation.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
if(NOT CMAKE_CXX_COMPILER)  # clang++ with CMAKE_CXX_COMPILER_TARGET does it too
  set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
  set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
endif()
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu;-cpu;max)
# Libraries and CMake configurations of this machine's own architecture must not be found.
set(CMAKE_IGNORE_PREFIX_PATH /usr/lib/x86_64-linux-gnu /usr/local)
