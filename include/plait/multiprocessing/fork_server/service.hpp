// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/fork_server/protocol.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/process/farewell.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/process.hpp>
#include <plait/os/surroundings.hpp>
#include <plait/os/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// The fork server's own process: a fresh start of the program's executable with a single thread, that forks children for
// the program, tells of their ends, and ends the daemons among them when the program is gone.
//
// It is no child of the program but a child of one that ends at once: a program that waits for all its children, as many
// do, would wait for the server, which waits for the program. (Not so where orphans become the program's children: it is
// process 1, or asked for them. There it reaps them like its own; but if it waits for all, it waits for the server too.)

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What process lists call the server.
inline constexpr const char* fork_server_name = "plait-server";

/// In the child that a server made: takes what came along with the order, and the program's surroundings; runs the call.
class ServedChild {
public:
    ServedChild(std::vector<os::Handle> along, os::Handle watched_program)
        : along_{std::move(along)}, watched_program_{std::move(watched_program)} {}

    /// Returns the exit code.
    int run() {
        const os::Handle& control = get(Along::control);
        try {
            // Where there is no watch for processes, the other end sees this one's end by that of the channel for news.
            if (os::can_watch_processes()) get(Along::news).reset();
            job_ = os::SharedMapping::open(std::move(get(Along::job)));
            job_.drop_handle();
            Decoder in(job_.bytes());
            StartRequest request = StartRequest::decode(in);
            take_surroundings(request);
            if (request.papers.daemon) os::end_with_program(watched_program_, control);
            watched_program_.reset();
            request.surroundings.apply_signal_mask();
            std::byte go[1];
            if (!os::receive_all(control, go)) return refused_status;  // the start was given up
            return run_target(control, std::move(request.papers), [&](Encoder& result) {
                const Incoming luggage(std::move(along_));
                in.carry(luggage);
                const auto callable = in.read<CallableName>();
                call_by_name(callable, in, result);
            });
        } catch (...) {
            return refuse(control);
        }
    }

private:
    os::Handle& get(Along which) { return fixed_[static_cast<std::size_t>(which)]; }

    void take_surroundings(StartRequest& request) {
        os::replace_environment(std::move(request.environment));
        os::enter_directory(get(Along::directory));
        get(Along::directory).reset();
        std::size_t taken = 0;
        for (int number = 0; number <= 2; ++number) {
            const bool comes = (request.streams >> number & 1U) != 0;
            if (comes && taken == along_.size()) throw CodecError("its standard streams did not come along");
            os::replace_standard_stream(number, comes ? along_[taken++].get() : os::Handle::none);
        }
        along_.erase(along_.begin(), along_.begin() + static_cast<std::ptrdiff_t>(taken));
        request.surroundings.apply();
    }

    std::vector<os::Handle> along_;  // behind the fixed ones: streams and luggage
    std::vector<os::Handle> fixed_ = split_off_fixed(along_);
    os::Handle watched_program_;
    os::SharedMapping job_;

    static std::vector<os::Handle> split_off_fixed(std::vector<os::Handle>& along) {
        const auto end = along.begin() + static_cast<std::ptrdiff_t>(Along::count);
        std::vector<os::Handle> fixed(std::make_move_iterator(along.begin()), std::make_move_iterator(end));
        along.erase(along.begin(), end);
        return fixed;
    }
};

class ForkService {
public:
    /// `watch` is one for `program`, which lived when it was made, or none where there can be none.
    ForkService(os::Handle control, std::int64_t program, os::Handle watch)
        : control_{std::move(control)}, program_{program}, watched_program_{std::move(watch)} {}

    /// Until the program wants no more of it, or is gone, and all children and guarded daemons have ended.
    void run() {
        os::go_to_root_directory();
        for (int number = 0; number <= 2; ++number) os::replace_standard_stream(number, os::Handle::none);
        os::allow_many_handles();
        os::set_thread_name(fork_server_name);
        introduce_itself();
        while (serving_ || !children_.empty() || !guarded_.empty()) {
            wait();
            while (const auto dead = reaper_.reap([](std::int64_t) {})) tell_end(*dead);
            if (program_is_gone()) end_daemons();
        }
    }

private:
    struct Made {
        std::int64_t pid;
        bool daemon;
        os::Handle news;
    };

    /// What is sent to the program's group is for the program and the children. Until here those signals were blocked; those
    /// that wait go where they are ignored.
    static os::TerminalSignals stand_apart() noexcept {
        const os::TerminalSignals before = os::ignore_terminal_signals();
        os::lead_own_process_group();
        os::SignalMask::none().apply();
        return before;
    }

    void introduce_itself() {
        const os::Handle self = os::watch_process(os::process_id());
        if (!self && os::can_watch_processes()) os::throw_system_error("pidfd_open");
        answer({}, {.kind = ServerReport::Kind::ready, .pid = os::process_id()}, self.get());
    }

    void wait() {
        std::vector<os::PollItem> items{{serving_ ? control_.get() : os::Handle::none, os::readable},
                                        {watched_program_.get(), os::readable}};
        for (const os::Handle& guarded : guarded_) items.emplace_back(guarded.get(), os::readable);
        // Where the system does not tell of the program's end it is asked for now and then.
        reaper_.wait(items, watched_program_ || program_gone_
                                ? plait::detail::Deadline::never()
                                : plait::detail::Deadline{std::chrono::milliseconds{200}});
        for (std::size_t i = guarded_.size(); i-- > 0;)
            if (items[2 + i].is_ready()) guarded_.erase(guarded_.begin() + static_cast<std::ptrdiff_t>(i));
        if (items[0].is_ready()) obey();
    }

    bool program_is_gone() {
        if (program_gone_) return false;  // known, and seen to
        program_gone_ =
            left_ || (watched_program_ ? os::wait_readable(watched_program_.get(), plait::detail::Deadline::at({}))
                                       : !os::process_exists(program_));
        if (program_gone_) watched_program_.reset();
        return program_gone_;
    }

    void obey() {
        ServerOrder order{.magic = 0};
        std::vector<os::Handle> along;
        const bool whole = os::receive_with_handles(control_, std::as_writable_bytes(std::span{&order, 1}), along,
                                                    plait::detail::Deadline::at({}));
        if (order.magic != ServerOrder::magic_word) {
            // The end of the channel without a word: the program was killed, or executes another one.
            left_ = true;
            serving_ = false;
        } else if (order.kind == ServerOrder::Kind::retire) {
            serving_ = false;
        } else if (!whole) {
            answer(order, {.kind = ServerReport::Kind::failed, .code = EMFILE});
        } else if (order.kind == ServerOrder::Kind::start && along.size() >= static_cast<std::size_t>(Along::count)) {
            start(order, std::move(along));
        } else if (order.kind == ServerOrder::Kind::guard && along.size() == 1) {
            guarded_.push_back(std::move(along.front()));
            answer(order, {.kind = ServerReport::Kind::done});
        } else {
            answer(order, {.kind = ServerReport::Kind::failed, .code = EINVAL});
        }
    }

    void start(const ServerOrder& order, std::vector<os::Handle> along) {
        std::int64_t pid = 0;
        try {
            pid = os::fork_process([&] { return become_child(std::move(along)); });
        } catch (const std::system_error& error) {
            return answer(order, {.kind = ServerReport::Kind::failed, .code = error.code().value()});
        }
        children_.push_back({pid, order.daemon != 0, std::move(along[static_cast<std::size_t>(Along::news)])});
        const os::Handle watch = os::watch_process(pid);
        if (!watch && os::can_watch_processes())
            return answer(order, {.kind = ServerReport::Kind::failed, .code = errno});
        answer(order, {.kind = ServerReport::Kind::made, .pid = pid}, watch.get());
    }

    int become_child(std::vector<os::Handle> along) {
        reaper_.undo();
        signals_.restore();
        control_.reset();
        guarded_.clear();
        children_.clear();
        os::set_thread_name(thread_name_);
        return ServedChild{std::move(along), std::move(watched_program_)}.run();
    }

    void tell_end(const os::Reaped& dead) {
        const auto made =
            std::find_if(children_.begin(), children_.end(), [&](const Made& each) { return each.pid == dead.pid; });
        if (made == children_.end()) return;
        const os::ServedEnd end{.code = dead.status.code};
        try {
            static_cast<void>(os::send_some(made->news, std::as_bytes(std::span{&end, 1})));
        } catch (const std::system_error&) {
            // Nobody waits for it any more.
        }
        children_.erase(made);
    }

    void end_daemons() {
        for (const Made& made : children_)
            if (made.daemon) os::end_child(made.pid);
        for (const os::Handle& guarded : guarded_) {
            try {
                static_cast<void>(os::signal_watched(guarded.get(), os::certain_end));
            } catch (const std::system_error&) {
                // It is another user's by now: it has to see to its own end.
            }
        }
        guarded_.clear();
        serving_ = false;
    }

    void answer(const ServerOrder& order, ServerReport report, os::NativeHandle along = os::Handle::none) {
        report.number = order.number;
        const std::span<const os::NativeHandle> handles{&along, along != os::Handle::none ? 1U : 0U};
        if (!os::send_with_handles(control_, std::as_bytes(std::span{&report, 1}), handles)) left_ = true;
    }

    os::Handle control_;  // open to the end, which its own end tells
    std::int64_t program_;
    os::Handle watched_program_;
    const std::string thread_name_ = os::thread_name();
    const os::TerminalSignals signals_ = stand_apart();
    os::ChildReaper reaper_;
    std::vector<Made> children_;
    std::vector<os::Handle> guarded_;  // watches for daemons that others made
    bool serving_ = true;
    bool left_ = false;  // the program let go of the channel without a word
    bool program_gone_ = false;
};

/// The main of a fork server. Nothing of the user's runs in it, at its end neither.
inline int run_fork_server(ChildContext& context) {
    os::Handle watch = os::watch_process(context.parent);
    // Asked after the watch began: it is the parent's, and not another's that got its number.
    if (os::parent_process_id() != context.parent) os::exit_immediately(0);
    os::fork_process([&] {
        // What tells of the parent's end is not for its child.
        for (int i = 1; i < os::inherited_handles(); ++i) os::inherited_handle(os::first_inherited + i).reset();
        ForkService{std::move(context.control), context.parent, std::move(watch)}.run();
        return 0;
    });
    os::exit_immediately(0);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
