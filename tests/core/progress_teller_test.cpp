// SPDX-License-Identifier: MIT
#include <plait/core/progress_teller.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::Progress;
using plait::detail::Deadline;
using plait::detail::ProgressTeller;

namespace {

using Function = ProgressTeller::Function;

/// What a teller has handed over, to be run by hand.
struct ByHand {
    struct Entry {
        Deadline deadline;
        Function function;
    };
    std::vector<Entry> entries;
    bool takes = true;

    ProgressTeller::Post post() {
        return [this](Deadline deadline, Function& function) {
            if (takes) entries.push_back({deadline, std::move(function)});
            return takes;
        };
    }
    void run_first() {
        Entry entry = std::move(entries.front());
        entries.erase(entries.begin());
        entry.function();
    }
};

std::atomic<int> reports{0};

}  // namespace

TEST_CASE("the start is told at once, and then every 100 ms what is done, where it has changed") {
    ByHand thread;
    std::vector<std::size_t> told;
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t done, std::size_t total) {
            CHECK(total == 10);
            told.push_back(done);
        },
        10, thread.post());
    CHECK(thread.entries.empty());
    teller->start();
    REQUIRE(thread.entries.size() == 1);
    CHECK(thread.entries[0].deadline.has_passed());
    const auto before = Deadline::Clock::now();
    thread.run_first();
    CHECK(told == std::vector<std::size_t>{0});

    REQUIRE(thread.entries.size() == 1);
    CHECK(thread.entries[0].deadline.time_point() >= before + 100ms);
    CHECK(thread.entries[0].deadline.time_point() <= Deadline::Clock::now() + 100ms);
    thread.run_first();
    CHECK(told.size() == 1);
    teller->tell(1);
    teller->tell(3);
    teller->tell(2);
    REQUIRE(thread.entries.size() == 1);
    thread.run_first();
    CHECK(told == std::vector<std::size_t>{0, 3});
    thread.run_first();
    CHECK(told.size() == 2);
    teller->tell(9);
    thread.run_first();
    CHECK(told.back() == 9);
}

TEST_CASE("the last is told before the result is there, once, and nothing after it") {
    ByHand thread;
    std::string order;
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t done, std::size_t) { order += std::to_string(done); }, 3, thread.post());
    teller->tell(1);
    teller->start();
    thread.run_first();
    teller->finish([&] { order += "!"; });
    CHECK(order == "1");
    while (!thread.entries.empty()) thread.run_first();
    CHECK(order == "13!");
    CHECK(teller.use_count() == 1);
}

TEST_CASE("a map of nothing tells zero of zero") {
    ByHand thread;
    std::string told;
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t done, std::size_t total) { told += std::to_string(done) + "/" + std::to_string(total); }, 0,
        thread.post());
    teller->start();
    thread.run_first();
    teller->finish(nullptr);
    while (!thread.entries.empty()) thread.run_first();
    CHECK(told == "0/0");
    CHECK(thread.entries.empty());
}

TEST_CASE("where nothing can be handed over the result is there all the same") {
    ByHand thread;
    thread.takes = false;
    const auto teller = std::make_shared<ProgressTeller>(
        [](std::size_t, std::size_t) { FAIL_CHECK("called on the thread that tells"); }, 2, thread.post());
    teller->start();
    teller->tell(1);
    bool is_there = false;
    teller->finish([&] { is_there = true; });
    CHECK(is_there);
}

TEST_CASE("a progress callback that throws is reported and called no more") {
    reports = 0;
    const auto before = plait::set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reports; });
    ByHand thread;
    int calls = 0;
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t, std::size_t) {
            ++calls;
            throw std::runtime_error("no");
        },
        3, thread.post());
    teller->start();
    thread.run_first();
    bool is_there = false;
    teller->finish([&] { is_there = true; });
    while (!thread.entries.empty()) thread.run_first();
    plait::set_unraisable_hook(before);
    CHECK(calls == 1);
    CHECK(reports == 1);
    CHECK(is_there);
}

TEST_CASE("looks end with the map") {
    ByHand thread;
    auto teller = std::make_shared<ProgressTeller>([](std::size_t, std::size_t) {}, 3, thread.post());
    teller->start();
    thread.run_first();
    CHECK(thread.entries.size() == 1);
    teller = nullptr;
    thread.run_first();
    CHECK(thread.entries.empty());

    teller =
        std::make_shared<ProgressTeller>([](std::size_t, std::size_t) { FAIL_CHECK("stopped"); }, 3, thread.post());
    teller->start();
    teller->stop();
    thread.run_first();
    CHECK(thread.entries.empty());
}

TEST_CASE("what the callable holds goes with the last call, a future of its own map too") {
    ByHand thread;
    const auto held = std::make_shared<int>(0);
    const auto teller =
        std::make_shared<ProgressTeller>([held](std::size_t, std::size_t) {}, std::size_t{1}, thread.post());
    CHECK(held.use_count() == 2);
    teller->finish(nullptr);
    thread.run_first();
    CHECK(held.use_count() == 1);
}

TEST_CASE("stop waits for a call that runs, but not in that call") {
    ByHand thread;
    std::mutex mutex;
    std::condition_variable news;
    bool begun = false;
    bool go_on = false;
    std::atomic<bool> is_over{false};
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t, std::size_t) {
            std::unique_lock lock{mutex};
            begun = true;
            news.notify_all();
            news.wait_for(lock, 30s, [&] { return go_on; });
            is_over = true;
        },
        std::size_t{2}, thread.post());
    teller->start();
    std::thread owners{[&] { thread.run_first(); }};
    {
        std::unique_lock lock{mutex};
        REQUIRE(news.wait_for(lock, 30s, [&] { return begun; }));
    }
    std::thread releaser{[&] {
        const std::scoped_lock lock{mutex};
        go_on = true;
        news.notify_all();
    }};
    teller->stop();
    CHECK(is_over);
    owners.join();
    releaser.join();

    std::shared_ptr<ProgressTeller> own;
    own =
        std::make_shared<ProgressTeller>([&](std::size_t, std::size_t) { own->stop(); }, std::size_t{2}, thread.post());
    own->start();
    thread.run_first();
    own->finish(nullptr);
    thread.run_first();
}

TEST_CASE("counts that several threads tell of never go back, and none is called twice at once") {
    constexpr std::size_t total = 20'000;
    std::mutex mutex;
    std::condition_variable news;
    std::vector<Function> posted;
    bool is_over = false;
    std::vector<std::size_t> told;
    std::atomic<int> inside{0};
    std::atomic<bool> was_alone{true};
    const auto teller = std::make_shared<ProgressTeller>(
        [&](std::size_t done, std::size_t) {
            if (inside++ != 0) was_alone = false;
            told.push_back(done);
            --inside;
        },
        total, [&](Deadline, Function& function) {  // sooner than asked: more to go wrong
            const std::scoped_lock lock{mutex};
            posted.push_back(std::move(function));
            news.notify_all();
            return true;
        });
    std::thread owners{[&] {
        for (;;) {
            std::vector<Function> now;
            {
                std::unique_lock lock{mutex};
                news.wait(lock, [&] { return is_over || !posted.empty(); });
                now.swap(posted);
                if (now.empty()) return;
            }
            for (Function& function : now) function();
        }
    }};
    teller->start();
    std::atomic<std::size_t> count{0};
    const auto tell = [&] {
        for (std::size_t i = 0; i < total / 2; ++i) {
            const std::size_t done = ++count;
            if (done < total) {
                teller->tell(done);
            } else {
                teller->finish([&] {
                    const std::scoped_lock lock{mutex};
                    is_over = true;
                });
            }
        }
    };
    std::thread other{tell};
    tell();
    other.join();
    owners.join();
    CHECK(was_alone);
    CHECK(told.back() == total);
    CHECK(std::is_sorted(told.begin(), told.end()));
    CHECK(std::adjacent_find(told.begin(), told.end()) == told.end());
}
