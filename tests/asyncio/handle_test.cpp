// SPDX-License-Identifier: MIT
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>

#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::EventLoop;
using plait::asyncio::Handle;

namespace {

void run_once(EventLoop& loop) {
    loop.stop();
    loop.run_forever();
}

}  // namespace

TEST_CASE("a cancelled callback never runs, and is destroyed at once") {
    EventLoop loop{{.manual_clock = true}};
    auto held = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = held;
    bool ran = false;
    Handle soon = loop.call_soon([&ran, held] { ran = true; });
    Handle later = loop.call_later(1s, [&ran, held] { ran = true; });
    held.reset();
    CHECK_FALSE(soon.cancelled());
    soon.cancel();
    soon.cancel();
    CHECK(soon.cancelled());
    CHECK_FALSE(alive.expired());
    later.cancel();
    CHECK(alive.expired());
    loop.call_later(2s, [&] { loop.stop(); });
    loop.run_forever();
    CHECK_FALSE(ran);
}

TEST_CASE("a callback is destroyed when it has run, and cancelling it then does nothing") {
    EventLoop loop;
    auto held = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = held;
    Handle handle = loop.call_soon([held] {});
    held.reset();
    run_once(loop);
    CHECK(alive.expired());
    handle.cancel();
    CHECK_FALSE(handle.cancelled());
}

TEST_CASE("losing the handle cancels nothing, and copies name the same callback") {
    EventLoop loop;
    int ran = 0;
    {
        const Handle lost = loop.call_soon([&] { ++ran; });
    }
    auto first = std::make_unique<Handle>(loop.call_soon([&] { ++ran; }));
    Handle second = *first;
    first.reset();
    second.cancel();
    run_once(loop);
    CHECK(ran == 1);
    second = loop.call_soon([&] { ++ran; });
    CHECK_FALSE(second.cancelled());
}

TEST_CASE("a callback may cancel a later one of its pass, and itself") {
    EventLoop loop;
    bool ran = false;
    std::optional<Handle> self;
    std::optional<Handle> later;
    self = loop.call_soon([&] {
        self->cancel();
        later->cancel();
    });
    later = loop.call_soon([&] { ran = true; });
    run_once(loop);
    CHECK_FALSE(ran);
    CHECK_FALSE(self->cancelled());
    CHECK(later->cancelled());
}

TEST_CASE("a timer that is due in the pass in which another cancels it does not fire") {
    EventLoop loop{{.manual_clock = true}};
    bool ran = false;
    std::optional<Handle> second;
    loop.call_later(1s, [&] {
        second->cancel();
        loop.stop();
    });
    second = loop.call_later(1s, [&] { ran = true; });
    loop.run_forever();
    CHECK_FALSE(ran);
}

TEST_CASE("a handle tells its time") {
    EventLoop loop{{.manual_clock = true}};
    CHECK(loop.call_later(5s, [] {}).when().time_since_epoch() == 5s);
}

TEST_CASE("a handle outlives its loop") {
    std::vector<Handle> handles;
    {
        EventLoop loop;
        handles.push_back(loop.call_soon([] {}));
        handles.push_back(loop.call_later(1h, [] {}));
    }
    for (Handle& handle : handles) {
        CHECK(handle.cancelled());
        handle.cancel();
    }
}

TEST_CASE("a hundred thousand cancelled timers leave nothing in the loop") {
    EventLoop loop;
    for (int i = 0; i < 100'000; ++i) loop.call_later(1h, [] {}).cancel();
    CHECK(plait::asyncio::detail::LoopAccess::core(loop).timers.empty());
}
