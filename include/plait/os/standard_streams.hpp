// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdio>
#include <ostream>

// Contract: flush_standard_streams() writes out what waits in stdout, stderr, cout, cerr and clog, and nothing else:
// fflush(nullptr) would block while another thread reads stdin. Never throws.

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

inline void flush_standard_streams() noexcept {
    const std::ios_base::Init initialised;  // the streams exist from here on, whatever the program includes
    for (char* const symbol : {cout_symbol, cerr_symbol, clog_symbol}) {
        auto* const stream = static_cast<std::ostream*>(static_cast<void*>(symbol));
        try {
            if (stream->rdbuf() != nullptr) stream->rdbuf()->pubsync();  // flush() could throw by the stream's mask
        } catch (...) {
            // A stream buffer of the user's threw: there is nobody to tell here.
        }
    }
    std::fflush(stdout);
    std::fflush(stderr);
}

}  // namespace plait::inline PLAIT_ABI::os
