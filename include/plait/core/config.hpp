// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/version.hpp>

// What compiler and standard library are underneath. No other header but the dispatch headers of os/ asks.

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) < 202002L
#  error "plait needs C++20: compile with -std=c++20 (MSVC: /std:c++20)"
#endif

#if !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#  error "plait carries exceptions between threads, processes and coroutines: compile without -fno-exceptions"
#endif

// The inline namespaces that every name stands in, so that two versions, or the native and the portable build, can meet
// in one program without sharing a symbol. PLAIT_PORTABLE_POSIX is the user's switch: the POSIX fallbacks in place of
// the Linux calls. PLAIT_SYNC_POINTS is for tests: see sync_point below.
#if defined(PLAIT_PORTABLE_POSIX) && defined(PLAIT_SYNC_POINTS)
#  define PLAIT_ABI v0::inline portable::inline disturbed
#elif defined(PLAIT_PORTABLE_POSIX)
#  define PLAIT_ABI v0::inline portable
#elif defined(PLAIT_SYNC_POINTS)
#  define PLAIT_ABI v0::inline disturbed
#else
#  define PLAIT_ABI v0
#endif

// Exceptions and the accessors of shared state keep default visibility, so that a library built with hidden visibility
// throws what its user can catch. (With libc++ that takes one more thing where the library is opened at run time: an
// executable linked with -rdynamic. Without, its exceptions are caught as the standard ones that they are.) Between an
// executable and its libraries, state is one where the dynamic linker makes it one: with -rdynamic, or where the library
// is linked and not opened. Else each has its own, and neither needs the other's.
#if defined(_WIN32)
#  define PLAIT_VISIBLE
#else
#  define PLAIT_VISIBLE __attribute__((visibility("default")))
#endif

namespace plait::inline PLAIT_ABI::detail {

/// Whether a std::condition_variable that waits until a steady-clock time follows that clock. Elsewhere it follows the
/// wall clock, and long waits are cut short and looked at again.
#if defined(__GLIBC__)
inline constexpr bool waits_follow_steady_clock = true;
#else
inline constexpr bool waits_follow_steady_clock = false;
#endif

/// Whether AddressSanitizer watches this program. Memory is then not kept for reuse, so that it sees every block's end.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#  else
inline constexpr bool address_sanitizer = false;
#  endif
#else
inline constexpr bool address_sanitizer = false;
#endif

/// Called where threads may overtake each other: around the atomics and locks by which they meet. It does nothing, unless
/// PLAIT_SYNC_POINTS is defined: then the program defines it, and delays whom it likes.
#if defined(PLAIT_SYNC_POINTS)
void sync_point() noexcept;
#else
inline void sync_point() noexcept {}
#endif

/// The signature of this very function as the compiler spells it, with `NamedType` in it: "… [with NamedType = int]",
/// "… [NamedType = int]". Not std::source_location: in a default member initializer clang 19 names the constructor there.
template <class NamedType>
constexpr const char* signature_naming() noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    return __FUNCSIG__;
#else
    return __PRETTY_FUNCTION__;
#endif
}

/// Tells the processor that this thread spins.
inline void relax_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
}

/// Has the processor fetch what will be written at `address` soon, which need not be an address at all.
inline void prefetch_for_write([[maybe_unused]] const void* address) noexcept {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));  // the builtin asks for reading only
#elif defined(__GNUC__)
    __builtin_prefetch(address, 1);
#endif
}

}  // namespace plait::inline PLAIT_ABI::detail
