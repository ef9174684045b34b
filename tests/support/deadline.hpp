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

}  // namespace support
