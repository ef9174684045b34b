// SPDX-License-Identifier: MIT
#include <plait/threading/thread.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

using plait::threading::Thread;
using plait::threading::ThreadInfo;
using support::patience;
using support::Race;

TEST_CASE("a thread that runs is listed, one that was joined is not, whoever looks while it ends") {
    std::atomic<bool> seen{false};
    std::atomic<bool> gone{false};
    std::optional<Thread> thread;  // asks `seen` until it is joined
    bool listed_running = false;
    bool listed_joined = false;
    bool listed_main = false;
    bool joined = false;
    const auto is_listed = [&](const ThreadInfo& info) {
        const std::vector<ThreadInfo> threads = plait::threading::enumerate();
        return std::find(threads.begin(), threads.end(), info) != threads.end();
    };
    const auto renew = [&] {
        seen = gone = false;
        thread.emplace([&] {
            while (!seen) std::this_thread::yield();
        });
        thread->start();
    };
    renew();
    Race race{"thread: exit against enumerate", 2'000};
    const auto failure = race.run(
        [&] {
            const bool fine = listed_main && listed_running && joined && !listed_joined && !thread->is_alive();
            thread.reset();
            renew();
            return fine;
        },
        [&] {
            listed_running = is_listed(thread->info());
            seen = true;
            joined = thread->join(patience);
            listed_joined = is_listed(thread->info());
            listed_main = is_listed(plait::threading::main_thread());
            gone = true;
        },
        [&] {
            const ThreadInfo info = thread->info();
            while (!gone) static_cast<void>(is_listed(info));
        },
        [&] {
            while (!seen) std::this_thread::yield();
            thread->join();
        });
    seen = true;
    CHECK(failure == "");
}
