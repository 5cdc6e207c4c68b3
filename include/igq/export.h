// Marks what the shared library shows to its users; everything else in it is local (src/api/libigq.map).
#pragma once

#if defined(__GNUC__)
#define IGQ_API __attribute__((visibility("default")))
#else
#define IGQ_API
#endif
