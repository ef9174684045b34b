// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <chrono>
#include <thread>

namespace plait::inline PLAIT_ABI::detail {

/// Whether another thread can make progress while this one spins.
inline bool spinning_helps() noexcept {
    static const bool several_processors = std::thread::hardware_concurrency() > 1;
    return several_processors;
}

/// Looks `most` times whether `done()`, with a `pause()` after each look; returns whether it was. Where that has led to
/// nothing lately it gives up sooner.
template <unsigned most, class Predicate, class Pause>
bool look_until(Predicate done, Pause pause) {
    constexpr unsigned try_again = 32;  // of so many searches one looks as often as it may, though the last ones failed
    // One for each thread and each kind of wait: what one of them learns says little about another.
    static constinit thread_local unsigned budget = most;
    static constinit thread_local unsigned failures = 0;

    if (failures != 0 && failures % try_again == 0) budget = most;
    for (unsigned i = 0; i < budget; ++i) {
        if (done()) {
            failures = 0;
            budget = most;
            return true;
        }
        pause();
    }
    ++failures;
    budget = budget / 2 + 1;
    return false;
}

/// Looks again and again for a short while, about as long as waking a thread takes, whether `done()`; returns whether
/// it was. Where that has led to nothing lately it gives up sooner.
template <unsigned most = 512, class Predicate>
bool spin_until(Predicate done) {
    return spinning_helps() && look_until<most>(done, [] { relax_processor(); });
}

/// Looks again and again for that long whether `done()`; returns whether it was. For two that wait for each other in turn:
/// were either to give up sooner for having failed, as above, the other would find it asleep and learn the same.
template <class Predicate>
bool spin_for(std::chrono::nanoseconds most, Predicate done) {
    constexpr int looks = 32;  // between two looks at the clock
    if (!spinning_helps()) return done();
    std::chrono::steady_clock::time_point end{};
    for (;;) {
        for (int i = 0; i < looks; ++i) {
            if (done()) return true;
            relax_processor();
        }
        const auto now = std::chrono::steady_clock::now();
        if (end == std::chrono::steady_clock::time_point{}) end = now + most;
        if (now >= end) return false;
    }
}

/// The same as `spin_until`, but lets others have the processor between two looks: for what takes others that are ready to run.
template <class Predicate>
bool yield_until(Predicate done) {
    return look_until<16>(done, [] { std::this_thread::yield(); });
}

}  // namespace plait::inline PLAIT_ABI::detail
