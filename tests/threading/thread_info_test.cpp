// SPDX-License-Identifier: MIT
#include <plait/threading/thread.hpp>
#include <plait/threading/thread_info.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace plait::threading;

namespace {

bool lives(const ThreadInfo& thread) {
    const auto threads = enumerate();
    return std::find(threads.begin(), threads.end(), thread) != threads.end();
}

}  // namespace

TEST_CASE("the main thread knows itself, and others know it") {
    CHECK(current_thread() == main_thread());
    CHECK(main_thread().name() == "MainThread");
    CHECK(main_thread().is_alive());
    CHECK_FALSE(main_thread().daemon());
    CHECK(get_ident() == main_thread().ident());
    CHECK(get_native_id() == main_thread().native_id());
    CHECK(lives(main_thread()));
    bool same = false;
    std::thread other{[&, main = current_thread()] { same = main_thread() == main && main_thread().native_id() != 0; }};
    other.join();
    CHECK(same);
}

TEST_CASE("a thread of ours is told apart, counted while it lives, and known after its end") {
    const std::size_t before = active_count();
    Event go_on;
    std::optional<ThreadInfo> inside;
    Thread thread(ThreadOptions{.name = "counted"}, [&] {
        inside = current_thread();
        go_on.wait();
    });
    CHECK(active_count() == before);
    thread.start();
    CHECK(active_count() == before + 1);
    CHECK(lives(thread.info()));
    go_on.set();
    thread.join();
    REQUIRE(inside);
    CHECK(*inside == thread.info());
    CHECK(inside->name() == "counted");
    CHECK(inside->ident() == thread.ident());
    CHECK_FALSE(inside->is_alive());
    CHECK_FALSE(lives(*inside));
    CHECK(active_count() == before);
}

TEST_CASE("a thread that plait did not start has a name too, and is forgotten at its end") {
    const std::size_t before = active_count();
    std::optional<ThreadInfo> first;
    std::optional<ThreadInfo> again;
    bool alive = false;
    std::thread foreign{[&] {
        first = current_thread();
        again = current_thread();
        alive = first->is_alive() && lives(*first) && first->native_id() == get_native_id();
    }};
    foreign.join();
    REQUIRE(first);
    CHECK(alive);
    CHECK(*first == *again);
    CHECK(first->name().substr(0, 6) == "Dummy-");
    CHECK_FALSE(first->is_alive());
    CHECK(active_count() == before);
}

TEST_CASE("numbers of threads are never given twice") {
    std::vector<std::uint64_t> numbers;
    for (int i = 0; i < 10; ++i) {
        Thread thread([&] { numbers.push_back(get_ident()); });
        thread.start();
        thread.join();
        CHECK(numbers.back() == thread.ident());
    }
    std::sort(numbers.begin(), numbers.end());
    CHECK(std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end());
}

TEST_CASE("a thread-local's destructor can ask whose thread it is in") {
    static std::string name;
    struct Asker {
        ~Asker() { name = current_thread().name(); }
    };
    Thread thread(ThreadOptions{.name = "asked"}, [] {
        static thread_local Asker asker;
        static_cast<void>(asker);
    });
    thread.start();
    thread.join();
    CHECK(name == "asked");
}

TEST_CASE("threads that start and end while others count leave the count as it was") {
    const std::size_t before = active_count();
    std::vector<std::thread> starters;
    for (int i = 0; i < 3; ++i)
        starters.emplace_back([] {
            for (int k = 0; k < 50; ++k) {
                Thread thread([] { static_cast<void>(enumerate()); });
                thread.start();
            }
        });
    for (auto& starter : starters) starter.join();
    CHECK(active_count() == before);
}
