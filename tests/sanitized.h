// What sanitizers cannot do: limits on memory (they need the whole address space), threads after a fork.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IGQ_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IGQ_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define IGQ_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IGQ_THREAD_SANITIZED 1
#endif
#endif

namespace igq::test {
#ifdef IGQ_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#ifdef IGQ_THREAD_SANITIZED
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif
}  // namespace igq::test
