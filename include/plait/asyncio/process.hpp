// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/outside_scope.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/readiness.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// A multiprocessing::Process or ProcessInfo: its sentinel becomes readable at its end.
template <class P>
concept JoinableProcess = requires(P& process, Timeout limit) {
    { process.sentinel() } -> std::same_as<os::NativeHandle>;
    { process.join(limit) } -> std::same_as<bool>;
};

/// A multiprocessing::Connection: `poll` reads what is there, and tells whether a message is whole.
template <class C>
concept MessageConnection = requires(C& connection) {
    { connection.poll() } -> std::same_as<bool>;
    { connection.native_handle() } -> std::same_as<os::NativeHandle>;
    connection.recv_bytes();
};

/// A multiprocessing::Event: a handle of an event that another process may set.
template <class E>
concept SharedEvent = std::copy_constructible<E> && requires(const E& event, Timeout limit) {
    { event.is_set() } -> std::same_as<bool>;
    { event.wait(limit) } -> std::same_as<bool>;
};

namespace detail {

struct JoinFunction {
    /// Waits for a process's end, without a thread; any number of tasks may.
    ///
    ///     mp::Process child(work);
    ///     child.start();
    ///     co_await join(child);
    ///     use(child.exitcode());
    ///
    /// Python: what `add_reader(process.sentinel, …)` is used for. A program that is no Process: `create_subprocess_exec`.
    /// Cancel: the process goes on; `wait_for(join(child), 2s)` gives it two seconds.
    /// Throws: what `child.join()` throws. Lifetime: it is neither moved nor closed meanwhile.
    template <JoinableProcess P>
    Coroutine<void> operator()(P& process) const {
        return wait(process);
    }

private:
    template <class P>
    static Coroutine<void> wait(P& process) {
        using std::chrono::milliseconds;
        bool was_readable = false;
        while (!process.join(milliseconds{0})) {
            if (was_readable) {
                // Gone, but for a moment, for a debugger, or for a server's word of it: nothing tells more.
                co_await sleep(milliseconds{1});
                continue;
            }
            if (!os::can_watch_processes() && running().loop->manual_clock) {
                // Which would stand: so a real moment.
                static_cast<void>(os::wait_readable(process.sentinel(), plait::detail::Deadline{milliseconds{1}}));
                co_await sleep(milliseconds{0});
                continue;
            }
            const OutsideScope working;
            if (os::can_watch_processes()) {
                co_await wait_readable(process.sentinel());
                was_readable = true;
            } else {
                was_readable = co_await wait_a_while(process.sentinel());
            }
        }
    }
    /// Children of the process may hold open what tells of its end.
    static Coroutine<bool> wait_a_while(os::NativeHandle sentinel) {
        try {
            co_await wait_for(wait_readable(sentinel), std::chrono::milliseconds{50});
        } catch (const TimeoutError&) {
            co_return false;
        }
        co_return true;
    }
};

struct WaitUntilSetFunction {
    /// Waits until an event that processes share is set.
    ///
    ///     co_await wait_until_set(ready);  // a mp::Event, of which another process has a copy
    ///
    /// Python: asyncio.to_thread(event.wait), and so it is here: one of the loop's threads waits.
    /// Cancel: the thread has left the event, within a tenth of a second, when CancelledError is thrown.
    template <SharedEvent E>
    Coroutine<void> operator()(const E& event) const {
        return wait(event);
    }

private:
    template <class E>
    static Coroutine<void> wait(E event) {
        if (event.is_set()) co_return;
        auto call = to_thread([event](StopToken stop) {
            while (!stop.stop_requested())
                if (event.wait(std::chrono::milliseconds{100})) return;
        });
        co_await std::move(call);
    }
};

/// Until `connection.poll()`. A message that is there in part holds up nobody: that part is read, and the rest waited for.
template <class C>
Coroutine<void> wait_for_message(C& connection) {
    while (!connection.poll()) co_await wait_readable(connection.native_handle());
}

}  // namespace detail

inline constexpr detail::JoinFunction join{};
inline constexpr detail::WaitUntilSetFunction wait_until_set{};

/// Receives the next message of a multiprocessing::Connection, which must be a `T`, and waits for it without a thread.
///
///     auto answer = co_await recv<std::string>(connection);
///
/// Python: Connection.recv, in what `add_reader(connection, …)` calls. To send, call `connection.send`; it waits while the
/// other end has no room, so one that may be large is better sent in `to_thread`.
/// Cancel: loses nothing. Throws: as Connection::recv.
/// Threads: no other receives from it meanwhile. Lifetime: it is neither moved nor closed meanwhile; cancel the wait first.
template <class T, MessageConnection C>
Coroutine<T> recv(C& connection) {
    co_await detail::wait_for_message(connection);
    co_return connection.template recv<T>();
}
/// The same of a message that is bytes.
template <MessageConnection C>
Coroutine<std::vector<std::byte>> recv_bytes(C& connection) {
    co_await detail::wait_for_message(connection);
    co_return connection.recv_bytes();
}

}  // namespace plait::inline PLAIT_ABI::asyncio
