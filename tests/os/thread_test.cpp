// SPDX-License-Identifier: MIT
#include <plait/os/thread.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>

namespace os = plait::os;

static_assert(std::is_same_v<decltype(&os::set_thread_name), void (*)(std::string_view) noexcept>);
static_assert(std::is_same_v<decltype(&os::thread_name), std::string (*)()>);
static_assert(std::is_same_v<decltype(&os::native_thread_id), std::uint64_t (*)() noexcept>);
static_assert(std::is_same_v<decltype(&os::current_process_id), std::int64_t (*)() noexcept>);
static_assert(std::is_same_v<decltype(&os::is_main_thread), bool (*)() noexcept>);
static_assert(std::is_same_v<decltype(&os::remember_main_thread), void (*)() noexcept>);
static_assert(std::is_same_v<decltype(&os::main_thread_id), std::uint64_t (*)() noexcept>);
static_assert(std::is_same_v<decltype(&os::usable_processors), unsigned (*)()>);

TEST_CASE("a thread has the name that it was given, cut to fifteen bytes") {
    std::string first;
    std::string second;
    std::thread thread{[&] {
        os::set_thread_name("worker");
        first = os::thread_name();
        os::set_thread_name("a name too long for the system");
        second = os::thread_name();
    }};
    thread.join();
    CHECK(first == "worker");
    CHECK(second == "a name too long");
}

TEST_CASE("a name is cut between characters, not within one") {
    using os::detail::cut_thread_name;
    CHECK(cut_thread_name("fifteen bytes!!") == "fifteen bytes!!");
    CHECK(cut_thread_name("fourteen bytes\xC3\xA9") == "fourteen bytes");
    CHECK(cut_thread_name("thirteen byte\xC3\xA9!") == "thirteen byte\xC3\xA9");
    CHECK(cut_thread_name("thirteen byte\xE2\x82\xAC") == "thirteen byte");
    CHECK(cut_thread_name("").empty());
}

TEST_CASE("threads have numbers of their own, and the main thread knows that it is") {
    const bool here = os::is_main_thread();
    const std::uint64_t own = os::native_thread_id();
    std::uint64_t other = own;
    bool there = true;
    std::thread thread{[&] {
        other = os::native_thread_id();
        there = os::is_main_thread();
    }};
    thread.join();
    CHECK(here);
    CHECK_FALSE(there);
    CHECK(other != own);
    CHECK(os::native_thread_id() == own);
    CHECK(os::main_thread_id() == own);
    CHECK(os::current_process_id() > 0);
}

TEST_CASE("at least one processor is usable, and no more than there are") {
    CHECK(os::usable_processors() >= 1);
    CHECK(os::usable_processors() <= std::thread::hardware_concurrency());
}

TEST_CASE("what is to be called around forks is: before, in the parent, and in the child") {
    static int before = 0;
    static int in_parent = 0;
    static int in_child = 0;
    static int in_child_alone = 0;
    os::call_around_forks([] { ++before; }, [] { ++in_parent; }, [] { ++in_child; });
    os::call_in_forked_children([] { ++in_child_alone; });
    const auto as_in_child = [] {
        return before == 1 && in_parent == 0 && in_child == 1 && in_child_alone == 1 ? 7 : 1;
    };
    CHECK(support::in_a_child(as_in_child) == 7);
    CHECK(before == 1);
    CHECK(in_parent == 1);
    CHECK(in_child == 0);
    CHECK(in_child_alone == 0);
}
