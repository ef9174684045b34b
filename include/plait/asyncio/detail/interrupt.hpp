// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/detail/signal_handlers.hpp>
#  include <plait/os/signals.hpp>
#  include <plait/os/thread.hpp>
#endif

namespace plait::inline PLAIT_ABI::asyncio::detail {

#if __has_include(<sys/socket.h>)

/// What `run` does about Ctrl-C: the first cancels its main task, the second ends the program. Only on the main thread, and
/// where it would have ended the program: who has decided otherwise is not interfered with.
///
/// Lives as long as its loop runs; that gives the signal back when it is closed. One that has come too late to cancel
/// anything is sent anew then.
class Interrupt {
public:
    Interrupt(EventLoop& loop, const AnyTask& task) : task_{TaskAccess::state(task)} {
        if (!os::ends_program(os::interrupt_signal) || !os::is_main_thread()) return;
        SignalHandlers& handlers = SignalHandlers::of(LoopAccess::core(loop));
        try {
            handlers.set_interrupt([this, &handlers] {
                if (task_.cancel("interrupted by Ctrl-C"))
                    cancelled_ = true;
                else
                    handlers.put_interrupt_back();
            });
        } catch (const UsageError&) {
            // Another thread's loop has just taken it.
        }
    }
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    /// For the end of the task.
    void throw_if_interrupted() const {
        if (!cancelled_ || task_.status() != TaskBase::Status::cancelled) return;
        task_.mark_retrieved();
        throw KeyboardInterrupt("interrupted by Ctrl-C (SIGINT)");
    }

private:
    TaskBase& task_;  // no handle: whoever has the only one may move the value out
    bool cancelled_ = false;
};

#else

/// Ctrl-C ends the program.
class Interrupt {
public:
    Interrupt(EventLoop&, const AnyTask&) noexcept {}
    void throw_if_interrupted() const noexcept {}
};

#endif

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
