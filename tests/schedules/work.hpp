// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/core/error.hpp>

#include "support/schedule.hpp"

#include <stdexcept>
#include <utility>

namespace support {

/// How work fails, now and then.
class WorkFailed : public std::runtime_error {
public:
    WorkFailed() : std::runtime_error("the work failed") {}
};

/// Does something at the end of a scope, on whatever path, also where a frame is destroyed with its loop.
template <class F>
class AtEnd {
public:
    explicit AtEnd(F f) : f_{std::move(f)} {}
    AtEnd(const AtEnd&) = delete;
    AtEnd& operator=(const AtEnd&) = delete;
    ~AtEnd() { f_(); }

private:
    F f_;
};

/// Often some passes of the loop and some time, then a value or a failure; cancelled, it may take a while to clean up.
inline plait::asyncio::Coroutine<int> work(Schedule& schedule) {
    bool cancelled = false;
    try {
        schedule.point();
        if (schedule.chance(2)) co_await plait::asyncio::sleep(std::chrono::milliseconds{0});
        if (!schedule.chance(4)) co_await plait::asyncio::sleep(schedule.time());
    } catch (const plait::CancelledError&) {
        cancelled = true;
    }
    if (cancelled) {
        if (schedule.chance(4)) co_await plait::asyncio::sleep(schedule.time());
        throw plait::CancelledError();
    }
    schedule.point();
    if (schedule.chance(4)) throw WorkFailed();
    co_return 1;
}

/// Lies in a frame, and sees to it that what was started there has ended when the frame goes.
class Workers {
public:
    explicit Workers(Schedule& schedule) noexcept : schedule_{schedule} {}
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;
    ~Workers() { schedule_.check(busy_ == 0, "a child outlived what started it"); }

    plait::asyncio::Coroutine<int> work() {
        const Life life{busy_};
        const int value = co_await support::work(schedule_);
        co_return value;
    }

private:
    Schedule& schedule_;
    int busy_ = 0;
};

}  // namespace support
