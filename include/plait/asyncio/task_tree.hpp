// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/report.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <source_location>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Writes down who waits for whom. A task stands below the first that waits for it, and is named below the others.
class TaskTree {
public:
    explicit TaskTree(EventLoop& loop) : loop_{loop}, tasks_{loop.all_tasks()} {
        std::unordered_set<const TaskBase*> awaited;
        for (const AnyTask& task : tasks_) {
            const TaskBase& state = TaskAccess::state(task);
            state.each_waiting_task([&](const TaskBase& waiting) {
                awaited_by_[&waiting].push_back(&state);
                awaited.insert(&state);
            });
        }
        for (const AnyTask& task : tasks_)
            if (!awaited.contains(&TaskAccess::state(task))) add_all(TaskAccess::state(task));
        // What is left stands in rings of waits, none of which has a top.
        for (const AnyTask& task : tasks_)
            if (!told_.contains(&TaskAccess::state(task))) add_all(TaskAccess::state(task));
    }

    std::string text() && {
        if (text_.empty()) return "no tasks";
        text_.pop_back();  // the last newline is the caller's
        return std::move(text_);
    }

private:
    static constexpr std::size_t deepest_indent = 20;
    static constexpr std::size_t most_frames = 10;

    /// The task and all below it; not by recursion, for a chain of waits may be long.
    void add_all(const TaskBase& top) {
        std::vector<std::pair<const TaskBase*, std::size_t>> left{{&top, 0}};
        while (!left.empty()) {
            const auto [task, depth] = left.back();
            left.pop_back();
            const bool again = !told_.insert(task).second;
            add(*task, depth, again);
            const auto children = awaited_by_.find(task);
            if (again || children == awaited_by_.end()) continue;
            for (auto child = children->second.rbegin(); child != children->second.rend(); ++child)
                left.emplace_back(*child, depth + 1);
        }
    }

    void add(const TaskBase& task, std::size_t depth, bool again) {
        const std::string indent(2 * (std::min)(depth, deepest_indent), ' ');
        text_ += indent + task.name();
        if (again) {
            text_ += " (see above)\n";
            return;
        }
        if (!task.has_begun())
            text_ += ": has not begun";
        else if (task.innermost() == nullptr)
            text_ += ": runs";
        else
            text_ += task.waits() ? ": waits" : ": ready";
        if (task.waits() && task.waiting_since() >= 0)
            text_ += " for " + seconds(LoopAccess::core(loop_).now() - task.waiting_since());
        text_ += "\n";
        std::size_t frames = 0;
        for (const PromiseBase* frame = task.innermost(); frame != nullptr;
             frame = frame->link != nullptr ? frame->link->parent : nullptr) {
            if (is_of_library(frame->where)) continue;
            if (++frames <= most_frames) text_ += indent + "  at " + detail::describe(frame->where) + "\n";
        }
        if (frames > most_frames)
            text_ += indent + "  in " + std::to_string(frames - most_frames) + " coroutines more\n";
    }

    /// What `gather` or `timeout` runs is no place in the user's program.
    static bool is_of_library(const std::source_location& where) {
        const std::string function = where.function_name();
        return function.substr(0, function.find('(')).find("asyncio::detail::") != std::string::npos;
    }
    static std::string seconds(Nanoseconds length) {
        const auto milliseconds = length / 1'000'000;
        std::string fraction = std::to_string(milliseconds % 1000);
        fraction.insert(0, 3 - fraction.size(), '0');
        return std::to_string(milliseconds / 1000) + "." + fraction + " s";
    }

    EventLoop& loop_;
    const std::vector<AnyTask> tasks_;
    std::unordered_map<const TaskBase*, std::vector<const TaskBase*>> awaited_by_;
    std::unordered_set<const TaskBase*> told_;
    std::string text_;
};

}  // namespace detail

/// Which task awaits which, and where: each with its name, whether it waits, and the `co_await`s that it stands in, from
/// the innermost outwards. In debug mode also for how long.
///
///     Task-1: waits for 12.001 s
///       at server.cpp:40 (Coroutine<void> serve())
///       Task-2: waits for 3.120 s
///         at pool.cpp:12 (Coroutine<int> ask(int))
///         at server.cpp:31 (Coroutine<void> answer())
///
/// Python: asyncio.format_call_graph. Threads: the loop's only; from another `loop.call_soon_threadsafe` a call of it.
[[nodiscard]] inline std::string format_task_tree(EventLoop& loop) { return detail::TaskTree{loop}.text(); }

/// Prints that on standard error: who is stuck, and where.
///
/// Python: asyncio.print_call_graph, and `python -m asyncio pstree`.
inline void print_task_tree(EventLoop& loop) { plait::detail::print_error_line(format_task_tree(loop)); }

}  // namespace plait::inline PLAIT_ABI::asyncio
