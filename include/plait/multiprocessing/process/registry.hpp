// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/process/this_process.hpp>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

class ProcessState;

/// The processes that this program has started, or is about to.
class ProcessRegistry {
public:
    /// The one of this process: that of a forked copy is empty.
    static ProcessRegistry& of_this_program();

    /// Held while a registered process's handles change, and around a fork: a copy closes them, and knows which.
    [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

    void add(std::weak_ptr<ProcessState> state) {
        const std::scoped_lock lock{mutex_};
        std::erase_if(states_, [](const auto& each) { return each.expired(); });
        states_.push_back(std::move(state));
    }
    [[nodiscard]] std::vector<std::shared_ptr<ProcessState>> all() {
        const std::scoped_lock lock{mutex_};
        return all_locked();
    }
    /// The same, for who holds the mutex.
    [[nodiscard]] std::vector<std::shared_ptr<ProcessState>> all_locked() const {
        std::vector<std::shared_ptr<ProcessState>> states;
        for (const auto& each : states_)
            if (auto state = each.lock()) states.push_back(std::move(state));
        return states;
    }

private:
    std::mutex mutex_;
    std::vector<std::weak_ptr<ProcessState>> states_;
};

PLAIT_VISIBLE inline PerProcess<ProcessRegistry>& process_registries() noexcept {
    static constinit PerProcess<ProcessRegistry> registries;
    return registries;
}
inline ProcessRegistry& ProcessRegistry::of_this_program() { return process_registries().get(); }

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
