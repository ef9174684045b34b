// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Takes out those that were there before; the others keep their order. AnyTasks or Tasks.
template <class Handle>
void keep_each_once(std::vector<Handle>& tasks) {
    const auto state_of = [](const AnyTask& task) {
        return reinterpret_cast<std::uintptr_t>(&TaskAccess::state(task));
    };
    std::vector<std::uintptr_t> states;
    states.reserve(tasks.size());
    for (const Handle& task : tasks) states.push_back(state_of(task));
    std::sort(states.begin(), states.end());
    if (std::adjacent_find(states.begin(), states.end()) == states.end()) return;
    states.erase(std::unique(states.begin(), states.end()), states.end());
    std::vector<bool> seen(states.size());
    std::erase_if(tasks, [&](const Handle& task) {
        const auto place = std::lower_bound(states.begin(), states.end(), state_of(task));
        const auto index = static_cast<std::size_t>(place - states.begin());
        const bool again = seen[index];
        seen[index] = true;
        return again;
    });
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
