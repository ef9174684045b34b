// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <new>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

// The least that a person would write for one purpose: tasks, a queue and a heap of timers, with no errors, results,
// cancellation or names. What a library costs is measured against this.

namespace minimal {

/// Freed frames, one list for each size.
class Frames {
public:
    static void* allocate(std::size_t size) {
        Frame*& first = lists()[list_of(size)];
        return first != nullptr ? std::exchange(first, first->next) : ::operator new((list_of(size) + 1) * step);
    }
    static void free(void* frame, std::size_t size) {
        Frame*& first = lists()[list_of(size)];
        first = ::new (frame) Frame{first};
    }

private:
    struct Frame {
        Frame* next;
    };
    static constexpr std::size_t step = 16;
    static std::size_t list_of(std::size_t size) { return (size - 1) / step; }
    static Frame** lists() {
        static constinit thread_local Frame* all[64]{};
        return all;
    }
};

/// What is to be resumed next; so no chain of tasks grows the stack.
inline std::coroutine_handle<>& next() {
    static constinit thread_local std::coroutine_handle<> handle;
    return handle;
}

/// A coroutine with a number for its result, begun when it is awaited or pushed on a loop.
class Task {
public:
    struct promise_type {
        struct Final {
            Final() noexcept {}
            static bool await_ready() noexcept { return false; }
            static void await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
                next() = ended.promise().continuation;
            }
            static void await_resume() noexcept {}
        };
        static void* operator new(std::size_t size) { return Frames::allocate(size); }
        static void operator delete(void* frame, std::size_t size) { Frames::free(frame, size); }
        Task get_return_object() { return Task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        static std::suspend_always initial_suspend() noexcept { return {}; }
        static Final final_suspend() noexcept { return {}; }
        void return_value(long result) noexcept { value = result; }
        static void unhandled_exception() noexcept { std::terminate(); }

        std::coroutine_handle<> continuation;
        long value = 0;
    };

    Task(Task&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
    Task& operator=(Task&&) = delete;
    ~Task() {
        if (handle_) handle_.destroy();
    }
    [[nodiscard]] std::coroutine_handle<> handle() const { return handle_; }

    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiting) const noexcept {
        handle_.promise().continuation = waiting;
        next() = handle_;
    }
    [[nodiscard]] long await_resume() const noexcept { return handle_.promise().value; }

private:
    explicit Task(std::coroutine_handle<promise_type> handle) : handle_{handle} {}
    std::coroutine_handle<promise_type> handle_;
};

class Loop {
public:
    using Clock = std::chrono::steady_clock;

    void push(std::coroutine_handle<> handle) { ready_.push_back(handle); }
    void push_at(Clock::time_point when, std::coroutine_handle<> handle) { timers_.push({when, handle}); }

    /// Until nothing is left.
    void run() {
        while (!ready_.empty() || !timers_.empty()) {
            if (ready_.empty()) std::this_thread::sleep_until(timers_.top().when);
            if (!timers_.empty())
                for (const auto now = Clock::now(); !timers_.empty() && timers_.top().when <= now; timers_.pop())
                    ready_.push_back(timers_.top().handle);
            pass_.swap(ready_);
            for (const auto handle : pass_) {
                next() = handle;
                while (next()) std::exchange(next(), nullptr).resume();
            }
            pass_.clear();
        }
    }

private:
    struct Timer {
        Clock::time_point when;
        std::coroutine_handle<> handle;
        friend bool operator>(const Timer& a, const Timer& b) { return a.when > b.when; }
    };
    std::vector<std::coroutine_handle<>> ready_;
    std::vector<std::coroutine_handle<>> pass_;
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
};

/// `co_await Turn{loop}`: once through the queue.
struct Turn {
    explicit Turn(Loop& its_loop) : loop{its_loop} {}
    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { loop.push(handle); }
    static void await_resume() noexcept {}
    Loop& loop;
};

struct Sleep {
    Sleep(Loop& its_loop, Loop::Clock::duration for_how_long) : loop{its_loop}, delay{for_how_long} {}
    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { loop.push_at(Loop::Clock::now() + delay, handle); }
    static void await_resume() noexcept {}
    Loop& loop;
    Loop::Clock::duration delay;
};

}  // namespace minimal
