// The functions of fmt as an archive, for static programs: Debian's package has a shared library and headers alone. Its
// header-only form in every file would triple the time of a build. Compiled with -fkeep-inline-functions.
#define FMT_HEADER_ONLY 1
#include <fmt/format.h>
