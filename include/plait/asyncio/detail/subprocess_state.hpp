// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/streams.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/stream_reader.hpp>
#include <plait/asyncio/stream_writer.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/subprocess_options.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/program.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// What the handle of a child and those who wait for it share: the child, its pipes, and how it ended.
///
/// While the child runs this keeps itself, listens to the child's sentinel, and reaps it. Where that does not tell all
/// (there is no watch for processes, or a debugger has the child), the child is asked now and then, too.
class SubprocessState final : private ReactorObject, private ReadyListener, private plait::detail::TimerNode {
public:
    SubprocessState() = default;
    ~SubprocessState() = default;

    /// Starts the child: once, and `self` is this. What it throws when the child runs leaves that to `disown`.
    void start(const std::shared_ptr<SubprocessState>& self, const plait::detail::ProgramPlan& plan, std::size_t limit);
    /// Nobody has the handle any more: kills the child.
    void disown() noexcept;

    /// Whether the end is always an event: else there are timers, for which a manual clock has to pass.
    [[nodiscard]] static bool end_is_told() noexcept { return os::can_watch_processes(); }

    [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
    /// Negative for a signal.
    [[nodiscard]] std::optional<int> returncode() const noexcept { return returncode_; }
    /// Set at its end.
    [[nodiscard]] Event& ended() noexcept { return ended_; }
    /// Throws: UsageError where the running task belongs to another loop than this.
    void check_loop() const;
    /// Once it has ended, nothing.
    void send_signal(int number) {
        if (reactor_ != nullptr) child_.send_signal(number);
    }

    // Its pipes, where there are any, and what `communicate` has read of them.

    std::optional<StreamWriter> input;
    std::optional<StreamReader> output;
    std::optional<StreamReader> error;
    std::string output_text;
    std::string error_text;

private:
    static constexpr std::chrono::milliseconds longest_pause{50};

    void look() noexcept;
    void finish() noexcept;
    void leave_it() noexcept;
    void leave_to_parent() noexcept {
        is_parents_ = true;
        leave_it();
    }
    void on_ready() noexcept override;
    void on_time() noexcept override { look(); }
    void on_loop_close() noexcept override;

    std::shared_ptr<SubprocessState> self_;  // while the child runs
    Reactor* reactor_ = nullptr;             // as long
    os::Child child_;
    std::int64_t pid_ = 0;
    bool is_parents_ = false;  // this is a fork's copy
    std::optional<int> returncode_;
    std::chrono::milliseconds pause_ = longest_pause;  // before it is asked again
    Event ended_;
};

inline void SubprocessState::start(const std::shared_ptr<SubprocessState>& self, const plait::detail::ProgramPlan& plan,
                                   std::size_t limit) {
    Reactor& reactor = Reactor::of_running_loop();
    os::StartedProgram started = os::start_program(plan);
    child_ = std::move(started.child);
    pid_ = child_.pid();
    self_ = self;
    reactor_ = &reactor;
    join(reactor);
    if (started.input) input = make_streams(reactor, std::move(started.input), StreamKind::writing_pipe, limit).second;
    if (started.output)
        output = make_streams(reactor, std::move(started.output), StreamKind::reading_pipe, limit).first;
    if (started.error) error = make_streams(reactor, std::move(started.error), StreamKind::reading_pipe, limit).first;
    if (child_.reap()) return finish();
    reactor.listen(child_.sentinel(), Direction::read, *this);
    if (!os::can_watch_processes()) reactor.loop().start_timer(*this, pause_);
}

inline void SubprocessState::disown() noexcept {
    // The rest of it is for nobody; but a child of the child's may hold the other end, and never read.
    if (input && reactor_ != nullptr) input->abort();
    input.reset();
    output.reset();
    error.reset();
    if (reactor_ == nullptr) return;
    if (reactor_->is_left()) return leave_to_parent();
    try {
        child_.send_signal(os::certain_end);
    } catch (const std::system_error&) {
        // It has taken another user's rights: it is reaped where it ends by itself.
    }
    if (!is_listening() && !is_timed()) look();  // its start was broken off
}

inline void SubprocessState::check_loop() const {
    if (is_parents_) throw UsageError("this Subprocess was copied by a fork: its program is the parent's");
    if (reactor_ == nullptr || running().task->loop() == &reactor_->loop()) return;
    throw UsageError("this Subprocess belongs to another event loop: use it in that loop's tasks only");
}

inline void SubprocessState::on_ready() noexcept {
    pause_ = std::chrono::milliseconds{1};
    look();
}

/// Where it is gone that is all; else it is looked at again later.
inline void SubprocessState::look() noexcept {
    try {
        if (child_.reap()) return finish();
    } catch (const std::system_error&) {
        // The system could not say.
    }
    LoopCore& loop = reactor_->loop();
    loop.stop_timer(*this);
    if (loop.manual_clock) {
        // On which the pause takes no time: so a real moment.
        static_cast<void>(os::poll({}, plait::detail::Deadline{std::chrono::milliseconds{1}}));
    }
    loop.start_timer(*this, pause_);
    pause_ = (std::min)(2 * pause_, longest_pause);
}

inline void SubprocessState::finish() noexcept {
    const os::ExitStatus status = child_.status();
    returncode_ = status.known ? static_cast<int>(status.code) : plait::detail::unknown_returncode;
    const std::shared_ptr<SubprocessState> self = self_;
    leave_it();
    ended_.set();
}

inline void SubprocessState::leave_it() noexcept {
    stop_listening();
    reactor_->loop().stop_timer(*this);
    reactor_->forget(child_.sentinel());
    leave();
    child_ = os::Child{};
    reactor_ = nullptr;
    self_.reset();  // last: this may go
}

inline void SubprocessState::on_loop_close() noexcept {
    if (!reactor_->is_left()) {
        os::end_program(child_);
        return finish();
    }
    leave_to_parent();
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
