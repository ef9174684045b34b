// SPDX-License-Identifier: MIT
#include <plait/core/function.hpp>
#include <plait/core/stop_token.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace plait;
using support::within;

TEST_CASE("a token tells of the stop of its source, and of its copies") {
    StopSource source;
    const StopToken token = source.get_token();
    const StopSource copy = source;
    CHECK(token.stop_possible());
    CHECK_FALSE(token.stop_requested());
    CHECK(source.request_stop());
    CHECK_FALSE(source.request_stop());
    CHECK(token.stop_requested());
    CHECK(copy.stop_requested());
}

TEST_CASE("a token of nothing never stops") {
    const StopToken token;
    CHECK_FALSE(token.stop_possible());
    CHECK_FALSE(token.stop_requested());
    const StopCallback callback{token, [] {}};
}

TEST_CASE("a callback runs once, on the stop or at once after it, and not when it has gone") {
    StopSource source;
    int early = 0;
    int gone = 0;
    int late = 0;
    const StopCallback callback{source.get_token(), [&] { ++early; }};
    {
        const StopCallback leaving{source.get_token(), [&] { ++gone; }};
    }
    source.request_stop();
    source.request_stop();
    const StopCallback after{source.get_token(), [&] { ++late; }};
    CHECK(early == 1);
    CHECK(gone == 0);
    CHECK(late == 1);
}

TEST_CASE("a callback that throws is reported and keeps no other from running") {
    static int reported = 0;
    reported = 0;
    const auto before = set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reported; });
    StopSource source;
    int ran = 0;
    const StopCallback first{source.get_token(), [&] { ++ran; }};
    const StopCallback thrower{source.get_token(), [] { throw std::runtime_error("broken"); }};
    source.request_stop();
    set_unraisable_hook(before);
    CHECK(reported == 1);
    CHECK(ran == 1);
}

TEST_CASE("a callback may destroy itself, and the source") {
    auto source = std::make_unique<StopSource>();
    std::optional<StopCallback<detail::MoveOnlyFunction<void()>>> callback;
    bool ran = false;
    callback.emplace(source->get_token(), [&] {
        ran = true;
        source.reset();
    });
    source->request_stop();
    CHECK(ran);
    CHECK(source == nullptr);
}

TEST_CASE("destroying a callback waits for its run on another thread") {
    for (int round = 0; round < 200; ++round) {
        StopSource source;
        std::atomic<bool> begun{false};
        std::atomic<bool> go_on{false};
        bool ended = false;
        std::optional<StopCallback<detail::MoveOnlyFunction<void()>>> callback;
        callback.emplace(source.get_token(), [&] {
            begun = true;
            while (!go_on) std::this_thread::yield();
            ended = true;
        });
        std::thread stopper{[&] { source.request_stop(); }};
        while (!begun) std::this_thread::yield();
        go_on = true;
        callback.reset();
        CHECK(ended);
        stopper.join();
    }
}

TEST_CASE("a stop ends a sleep that was given its token, and no other") {
    StopSource source;
    int address = 0;
    std::atomic<int> interrupted{0};
    const auto sleep = [&](const StopToken& token) {
        using detail::parking::Result;
        const auto result = detail::parking::sleep(&address, detail::Deadline{30s}, token, [] { return true; });
        if (result == Result::interrupted || result == Result::unwanted) ++interrupted;
    };
    std::thread stopped{[&] { sleep(source.get_token()); }};
    std::thread other{[&] { sleep(StopToken{}); }};
    CHECK(within(20s, [&] { return detail::parking::waiting(&address) == 2; }));
    source.request_stop();
    stopped.join();
    CHECK(detail::parking::waiting(&address) == 1);
    sleep(source.get_token());
    CHECK(interrupted == 2);
    detail::parking::wake_all(&address);
    other.join();
    CHECK(interrupted == 2);
}

TEST_CASE("callbacks that come and go while a stop is requested are each run or not, and none after it has gone") {
    for (int round = 0; round < 200; ++round) {
        StopSource source;
        std::atomic<int> wrong{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i)
            threads.emplace_back([&] {
                for (int k = 0; k < 20; ++k) {
                    bool alive = true;
                    {
                        const StopCallback callback{source.get_token(), [&] { wrong += alive ? 0 : 1; }};
                    }
                    alive = false;
                }
            });
        source.request_stop();
        for (auto& thread : threads) thread.join();
        CHECK(wrong == 0);
    }
}

TEST_CASE("a source that was moved from stops nothing") {
    StopSource source;
    const StopToken token = source.get_token();
    StopSource taken = std::move(source);
    CHECK_FALSE(source.request_stop());
    CHECK_FALSE(source.stop_requested());
    CHECK_FALSE(source.get_token().stop_possible());
    CHECK_FALSE(token.stop_requested());
    CHECK(taken.request_stop());
    CHECK(token.stop_requested());
}
