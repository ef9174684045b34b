// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/process/registry.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/process_state.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A process that one may ask about: this one, its parent, or one of its children. Copies tell of the same process, and
/// go on to after its end.
///
/// Python: the Process objects that current_process, parent_process and active_children give. What one starts oneself is
/// a Process.
///
/// Threads: any.
class ProcessInfo {
public:
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
    [[nodiscard]] bool daemon() const noexcept { return daemon_; }
    [[nodiscard]] bool is_alive() const;

    /// Throws: UsageError for the process itself, which would wait for ever.
    void join() const { static_cast<void>(join(Timeout::never())); }
    /// Returns whether it ended within `timeout`.
    [[nodiscard]] bool join(Timeout timeout) const;

    /// A handle that becomes readable at its end, to be waited for with others; it belongs to this object, and of a child
    /// to its Process. Throws: UsageError for the process itself.
    [[nodiscard]] os::NativeHandle sentinel() const;

    /// Asks a child to end (SIGTERM); does nothing after its end. Throws: UsageError for another process than a child.
    void terminate() const { child("terminate").signal_if_there(os::polite_end); }
    /// Ends a child (SIGKILL); does nothing after its end.
    void kill() const { child("kill").signal_if_there(os::certain_end); }

private:
    friend ProcessInfo current_process();
    friend std::optional<ProcessInfo> parent_process();
    friend std::vector<ProcessInfo> active_children();

    ProcessInfo(std::string name, std::int64_t pid, bool daemon) : name_{std::move(name)}, pid_{pid}, daemon_{daemon} {}
    [[nodiscard]] detail::ProcessState& child(const char* what) const {
        if (child_ == nullptr) throw UsageError(std::string(what) + ": a process may only end its own children");
        return *child_;
    }
    bool wait_for_parent(Timeout timeout) const;

    std::string name_;
    std::int64_t pid_ = 0;
    bool daemon_ = false;
    std::shared_ptr<detail::ProcessState> child_;
    os::NativeHandle parent_channel_ = os::Handle::none;  // open for life
    std::shared_ptr<os::Handle> parent_watch_;            // where the system has any
};

/// This process: "MainProcess" in the program, in a child what its Process is called.
inline ProcessInfo current_process() {
    const detail::ChildPapers& papers = detail::this_process().papers;
    return {papers.name, os::process_id(), papers.daemon};
}

/// The program that started this process; empty in one that no Process of ours started.
inline std::optional<ProcessInfo> parent_process() {
    const detail::ThisProcess& self = detail::this_process();
    if (self.control == os::Handle::none) return std::nullopt;
    ProcessInfo parent(self.papers.parent_name, self.papers.parent, false);
    parent.parent_channel_ = self.control;
    os::Handle watch = os::watch_process(parent.pid_);
    // Its number may be another's by now: only what holds the channel's other end is the parent.
    os::PollItem channel{self.control, 0};
    if (!os::poll({&channel, 1}, plait::detail::Deadline::at({})))
        parent.parent_watch_ = std::make_shared<os::Handle>(std::move(watch));
    return parent;
}

/// The processes that this program has started and that run; those that have ended are reaped.
///
/// Python: multiprocessing.active_children.
inline std::vector<ProcessInfo> active_children() {
    std::vector<ProcessInfo> children;
    for (auto& state : detail::ProcessRegistry::of_this_program().all()) {
        const auto pid = state->pid_if_alive();
        if (!pid) continue;
        ProcessInfo info(state->options().name, *pid, state->options().daemon);
        info.child_ = std::move(state);
        children.push_back(std::move(info));
    }
    return children;
}

inline bool ProcessInfo::is_alive() const {
    if (child_ != nullptr) return child_->pid_if_alive().has_value();
    if (parent_channel_ != os::Handle::none) return !wait_for_parent(std::chrono::seconds{0});
    return pid_ == os::process_id();
}

inline bool ProcessInfo::join(Timeout timeout) const {
    if (child_ != nullptr) return child_->wait(timeout);
    if (parent_channel_ != os::Handle::none) return wait_for_parent(timeout);
    throw UsageError("join: a process cannot wait for its own end");
}

inline os::NativeHandle ProcessInfo::sentinel() const {
    if (child_ != nullptr) return child_->sentinel();
    if (parent_channel_ == os::Handle::none) throw UsageError("sentinel: a process cannot wait for its own end");
    return parent_watch_ != nullptr && *parent_watch_ ? parent_watch_->get() : parent_channel_;
}

/// The parent is gone at its own end or at the channel's: a fork of it may hold that open, and it may have executed
/// another program.
inline bool ProcessInfo::wait_for_parent(Timeout timeout) const {
    if (parent_watch_ == nullptr) return true;  // it was gone when this was asked for
    std::array items{os::PollItem{parent_channel_, 0}, os::PollItem{parent_watch_->get(), os::readable}};
    return os::poll(items, plait::detail::Deadline{timeout});
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
