// Sizes padded to whole panels, groups of codes or lines of cache.
#pragma once

namespace igq {

/// The smallest multiple of `to` that is at least n; n >= 0, to > 0.
inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

}  // namespace igq
