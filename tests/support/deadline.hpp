// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <thread>

namespace support {

/// Yields until `predicate()` holds, for `limit` at most; returns whether it came to hold.
///
///     REQUIRE(within(5s, [&] { return event.waiting() == 3; }));
///
/// For a state that another thread or process brings about and that nothing announces. The limit is there to fail by,
/// not to be reached: make it generous.
template <class Predicate>
[[nodiscard]] bool within(std::chrono::milliseconds limit, Predicate predicate) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!predicate()) {
        if (std::chrono::steady_clock::now() >= end) return predicate();
        std::this_thread::yield();
    }
    return true;
}

/// Whether the end of `body()`, which returns when that began, takes less than `limit`, at one of several attempts: a busy
/// machine may hold up any of them, and what is looked for holds up all.
///
///     CHECK(is_quick(4s, [&] {   // not by the way that takes five seconds
///         Thing thing = make_it();
///         return std::chrono::steady_clock::now();   // what is measured is the destructor
///     }));
template <class Body>
[[nodiscard]] bool is_quick(std::chrono::milliseconds limit, Body body) {
    for (int attempt = 0; attempt < 5; ++attempt) {
        const std::chrono::steady_clock::time_point begin = body();
        if (std::chrono::steady_clock::now() - begin < limit) return true;
    }
    return false;
}

}  // namespace support
