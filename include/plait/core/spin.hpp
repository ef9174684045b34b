// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <thread>

namespace plait::inline PLAIT_ABI::detail {

/// Whether another thread can make progress while this one spins.
inline bool spinning_helps() noexcept {
    static const bool several_processors = std::thread::hardware_concurrency() > 1;
    return several_processors;
}

/// Looks again and again for a short while, about as long as waking a thread takes, whether `done()`; returns whether
/// it was. Where that has led to nothing lately it gives up sooner.
template <class Predicate>
bool spin_until(Predicate done) {
    constexpr unsigned most = 512;
    constexpr unsigned try_again = 32;  // one spin of so many is a full one, though the last ones failed
    // One for each thread and each kind of wait: what one of them learns says little about another.
    static constinit thread_local unsigned budget = most;
    static constinit thread_local unsigned failures = 0;

    if (!spinning_helps()) return false;
    if (failures != 0 && failures % try_again == 0) budget = most;
    for (unsigned i = 0; i < budget; ++i) {
        if (done()) {
            failures = 0;
            budget = most;
            return true;
        }
        relax_processor();
    }
    ++failures;
    budget = budget / 2 + 1;
    return false;
}

}  // namespace plait::inline PLAIT_ABI::detail
