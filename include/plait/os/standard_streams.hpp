// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <cstdio>
#include <ostream>

// Contract: flush_standard_streams() writes out what waits in stdout, stderr, cout, cerr and clog, and nothing else:
// fflush(nullptr) would block while another thread reads stdin. Never throws. Where nothing waits it takes no lock.
//   may_hold_output(stream)               whether a stream of C's has to be flushed; false only where that is sure
//   is_of_standard_stream(buffer)         whether a stream buffer keeps nothing itself, and hands all to stdout or stderr

#if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#  include <plait/os/linux/pending_output.hpp>
#else
#  include <plait/os/posix/pending_output.hpp>
#endif
#if defined(__GLIBCXX__)
#  include <plait/os/posix/synchronized_buffer.hpp>
#else
#  include <plait/os/posix/synchronized_buffer_fallback.hpp>
#endif

namespace plait::inline PLAIT_ABI::os {

// The streams by their symbols: <iostream> would run an initialiser before main in every file that includes this one.
#if defined(_LIBCPP_VERSION)
extern char cout_symbol[] __asm__("_ZNSt3__14coutE");
extern char cerr_symbol[] __asm__("_ZNSt3__14cerrE");
extern char clog_symbol[] __asm__("_ZNSt3__14clogE");
#else
extern char cout_symbol[] __asm__("_ZSt4cout");
extern char cerr_symbol[] __asm__("_ZSt4cerr");
extern char clog_symbol[] __asm__("_ZSt4clog");
#endif

/// The stream at `symbol`, of which only the base that knows its buffer is asked: to find that in the stream costs as much
/// as to look at the buffer. `found` is null until then, and is written by whoever comes first, all of them the same.
inline std::ios& standard_stream(char* symbol, std::atomic<std::ios*>& found) noexcept {
    // Not the lock of a static's initialisation: a copy of the program would wait for ever for a thread that it has not.
    std::ios* stream = found.load(std::memory_order_acquire);  // pairs with the release below
    if (stream != nullptr) return *stream;
    const std::ios_base::Init made;  // the streams exist from here on, whatever the program includes
    stream = static_cast<std::ostream*>(static_cast<void*>(symbol));
    found.store(stream, std::memory_order_release);
    return *stream;
}

inline void flush_stream(std::ios& stream) noexcept {
    std::streambuf* const buffer = stream.rdbuf();
    if (buffer == nullptr || is_of_standard_stream(*buffer)) return;
    try {
        buffer->pubsync();  // the stream's flush() could throw by its mask
    } catch (...) {
        // A stream buffer of the user's threw: there is nobody to tell here.
    }
}
inline void flush_stream(std::FILE* stream) noexcept {
    if (may_hold_output(*stream)) std::fflush(stream);
}

inline void flush_standard_streams() noexcept {
    static constinit std::atomic<std::ios*> found[3]{};
    flush_stream(standard_stream(cout_symbol, found[0]));
    flush_stream(standard_stream(cerr_symbol, found[1]));
    flush_stream(standard_stream(clog_symbol, found[2]));
    flush_stream(stdout);
    flush_stream(stderr);
}

}  // namespace plait::inline PLAIT_ABI::os
