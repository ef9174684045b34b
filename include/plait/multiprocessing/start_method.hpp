// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// How a child process comes to be.
///
/// Python: multiprocessing's start methods, with the default that it has since 3.14.
enum class StartMethod {
    forkserver,  ///< a fresh, single-threaded start of this executable makes the child: safe whatever threads run here
    spawn,       ///< a fresh start of this executable each time
    fork,        ///< a copy of this program: everything is there, and so are locks that other threads held
};

namespace detail {

PLAIT_VISIBLE inline std::atomic<StartMethod>& default_start_method() noexcept {
    static constinit std::atomic<StartMethod> method{StartMethod::forkserver};
    return method;
}

}  // namespace detail

/// The start method of processes and pools that are not told another.
inline StartMethod get_start_method() noexcept {
    return detail::default_start_method().load(std::memory_order_relaxed);
}
inline void set_start_method(StartMethod method) noexcept {
    detail::default_start_method().store(method, std::memory_order_relaxed);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
