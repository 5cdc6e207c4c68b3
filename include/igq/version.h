// The version of the library and the program (see docs/versioning.md).
#pragma once

#define IGQ_VERSION "0.1.0"
