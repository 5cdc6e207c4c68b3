// How the public API calls what lies below it.
#pragma once

#include <new>

#include "base/float_state.h"
#include "igq/error.h"

namespace igq {

/// call() as a process at its start would calculate it; memory that runs out is an Error, made beforehand.
template <typename Call>
auto guarded(const Call& call) {
  static const Error kNoMemory("out of memory");
  const FloatState plain;
  try {
    return call();
  } catch (const std::bad_alloc&) {
    throw Error(kNoMemory);
  }
}

}  // namespace igq
