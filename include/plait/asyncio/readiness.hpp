// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/handle_callbacks.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/os/handle.hpp>

#include <coroutine>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Whether a handle is the connection's own, which tells the reactor before it closes it, or a stranger's.
enum class Whose : bool { ours, strangers };

template <Direction direction, Whose whose>
class ReadyAwaiter : public AwaiterBase, private Waiter, private ReadyListener {
public:
    explicit ReadyAwaiter(os::NativeHandle handle) noexcept : handle_{handle} {}

    static bool await_ready() noexcept { return false; }
    /// Throws where nothing can be waited for; then nothing has begun.
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) {
        task_ = running().task;
        Reactor& reactor = Reactor::of(*task_->loop());
        if constexpr (whose == Whose::ours)
            reactor.listen(handle_, direction, *this);
        else
            reactor.listen_to_stranger(handle_, direction, *this);
        task_->suspend(handle, this);
    }
    void await_resume() const { task_->check_cancelled(); }

private:
    void on_ready() noexcept override { task_->wake(); }
    bool cancel_wait() noexcept override {
        stop_listening();
        return false;
    }

    os::NativeHandle handle_;
    TaskBase* task_ = nullptr;
};

/// What `wait_readable(handle)` gives: nothing happens before it is awaited.
template <Direction direction, Whose whose>
class [[nodiscard("it waits only when it is awaited")]] Readiness {
public:
    explicit Readiness(os::NativeHandle handle) noexcept : handle_{handle} {}
    ReadyAwaiter<direction, whose> operator co_await() const noexcept {
        return ReadyAwaiter<direction, whose>{handle_};
    }

private:
    os::NativeHandle handle_;
};

template <Direction direction>
struct WaitReadyFunction {
    /// Waits until `handle`, a file descriptor, can be read (written) without waiting, has ended, or has failed: the next
    /// call tells which. For a pipe, a socket, a terminal, or the sentinel of a process; any number of tasks at once.
    ///
    ///     co_await wait_readable(inotify);
    ///     auto size = ::read(inotify, buffer, sizeof buffer);
    ///
    /// Python: none in asyncio, which has `add_reader`; trio.lowlevel.wait_readable. For TCP and pipes use
    /// `open_connection`, StreamReader and StreamWriter.
    /// Cancel: leaves nothing behind. Throws: std::system_error where nothing can be waited for: it is closed, or a regular
    /// file or a device such as /dev/null, which are always ready. Close it only when nobody waits for it.
    Readiness<direction, Whose::strangers> operator()(os::NativeHandle handle) const noexcept {
        return Readiness<direction, Whose::strangers>{handle};
    }
};

}  // namespace detail

inline constexpr detail::WaitReadyFunction<detail::Direction::read> wait_readable{};
inline constexpr detail::WaitReadyFunction<detail::Direction::write> wait_writable{};

template <class F, class... Args>
void EventLoop::add_reader(int handle, F&& f, Args&&... args) {
    check_usable();
    detail::HandleCallbacks::of(core_).add(handle, detail::Direction::read,
                                           detail::bind_repeated_call(std::forward<F>(f), std::forward<Args>(args)...));
}
template <class F, class... Args>
void EventLoop::add_writer(int handle, F&& f, Args&&... args) {
    check_usable();
    detail::HandleCallbacks::of(core_).add(handle, detail::Direction::write,
                                           detail::bind_repeated_call(std::forward<F>(f), std::forward<Args>(args)...));
}
inline bool EventLoop::remove_reader(int handle) noexcept {
    return detail::HandleCallbacks::remove(core_, handle, detail::Direction::read);
}
inline bool EventLoop::remove_writer(int handle) noexcept {
    return detail::HandleCallbacks::remove(core_, handle, detail::Direction::write);
}

}  // namespace plait::inline PLAIT_ABI::asyncio
