// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/shared_arena.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <system_error>
#include <vector>

using plait::Error;
using plait::multiprocessing::detail::Arena;
using plait::multiprocessing::detail::ArenaState;
namespace os = plait::os;

namespace {

os::Handle another(const os::Handle& handle) { return os::Handle{::fcntl(handle.get(), F_DUPFD_CLOEXEC, 3)}; }

/// How much of the memory is really there.
std::size_t pages_of(const Arena& arena) {
    struct stat status{};
    ::fstat(arena.handle().get(), &status);
    return static_cast<std::size_t>(status.st_blocks) * 512;
}

struct Shared {
    ArenaState state;
    Arena arena{state, os::make_anonymous_memory()};
    Arena elsewhere{state, another(arena.handle())};

    void free_elsewhere(std::uint32_t first, std::uint32_t count) {
        elsewhere.map_table();
        elsewhere.free(first, count);
    }
};

}  // namespace

TEST_CASE("an arena's runs do not overlap, and are the same memory wherever it is mapped") {
    Shared shared;
    std::set<std::uint32_t> granules;
    std::vector<std::uint32_t> firsts;
    const std::vector<std::uint32_t> counts = {1, 2, 100, 1, 256, 3, 200, 1, 255, 1};
    for (const std::uint32_t count : counts) {
        const std::uint32_t first = shared.arena.allocate(count);
        firsts.push_back(first);
        CHECK(shared.elsewhere.holds(first, count));
        CHECK(first / Arena::window_granules == (first + count - 1) / Arena::window_granules);
        for (std::uint32_t i = first; i < first + count; ++i) {
            CHECK(granules.insert(i).second);
            *shared.arena.at(i) = static_cast<std::byte>(i);
        }
    }
    for (const std::uint32_t granule : granules) {
        CHECK(shared.elsewhere.at(granule) != shared.arena.at(granule));
        CHECK(*shared.elsewhere.at(granule) == static_cast<std::byte>(granule));
    }
    for (std::size_t i = 0; i < firsts.size(); ++i) shared.free_elsewhere(firsts[i], counts[i]);
    CHECK(shared.arena.allocate(1) == Arena::first_granule);
}

TEST_CASE("an arena gives the lowest granules again that have become free") {
    Shared shared;
    const std::uint32_t first = shared.arena.allocate(1);
    const std::uint32_t second = shared.arena.allocate(1);
    const std::uint32_t third = shared.arena.allocate(1);
    CHECK(second == first + 1);
    shared.free_elsewhere(third, 1);
    shared.free_elsewhere(first, 1);
    CHECK(shared.arena.allocate(2) == third);
    CHECK(shared.arena.allocate(1) == first);
    CHECK(shared.arena.allocate(1) == third + 2);
}

TEST_CASE("a run that is larger than a window lies in one piece") {
    Shared shared;
    constexpr std::uint32_t count = 2 * Arena::window_granules + 7;
    const std::uint32_t first = shared.arena.allocate(count);
    const std::size_t size = std::size_t{count} * Arena::granule_size;
    os::MemoryView here;
    os::MemoryView there;
    std::byte* const data = shared.arena.at(first, count, here);
    data[0] = std::byte{1};
    data[size - 1] = std::byte{2};
    CHECK(here.size() == size);
    CHECK(shared.elsewhere.at(first, count, there)[size - 1] == std::byte{2});
    CHECK(*shared.elsewhere.at(first) == std::byte{1});
}

TEST_CASE("an arena gives back what is free, but for a few granules that stay warm") {
    if (!os::gives_memory_back) return;
    Shared shared;
    const std::uint32_t small_run = shared.arena.allocate(100);
    const std::uint32_t large_run = shared.arena.allocate(1'000);
    CHECK(pages_of(shared.arena) >= std::size_t{1'100} * Arena::granule_size);
    shared.free_elsewhere(large_run, 1'000);
    CHECK(pages_of(shared.arena) <= std::size_t{101} * Arena::granule_size);
    shared.free_elsewhere(small_run, 100);
    CHECK(pages_of(shared.arena) >= std::size_t{100} * Arena::granule_size);
    shared.arena.trim();
    CHECK(pages_of(shared.arena) <= std::size_t{17} * Arena::granule_size);
    // What was given back is there again when it is taken.
    CHECK(shared.arena.allocate(100) == small_run);
    CHECK(pages_of(shared.arena) >= std::size_t{100} * Arena::granule_size);
}

TEST_CASE("granules that a death left marked are found by what is really used") {
    Shared shared;
    const std::uint32_t kept = shared.arena.allocate(2);
    const std::uint32_t lost = shared.arena.allocate(5);
    shared.arena.free_all_but([&](std::uint32_t granule) { return granule == kept || granule == kept + 1; });
    CHECK(shared.arena.allocate(5) == lost);
}

TEST_CASE("an arena that cannot grow says so, and is as it was") {
    const int code = support::in_a_child([] {
        const rlimit limit{2 * Arena::window_size, 2 * Arena::window_size};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        Shared shared;
        const std::uint32_t first = shared.arena.allocate(1);
        for (int i = 0; i < 3; ++i) {
            try {
                static_cast<void>(shared.arena.allocate(3 * Arena::window_granules));
                return 1;
            } catch (const std::system_error&) {
            }
        }
        return shared.arena.allocate(1) == first + 1 ? 0 : 2;
    });
    CHECK(code == 0);
    Shared shared;
    CHECK_THROWS_AS(shared.arena.allocate(Arena::most_granules), std::system_error);
    CHECK_THROWS_AS(shared.arena.allocate(UINT32_MAX), std::system_error);
    CHECK(shared.arena.allocate(1) == Arena::first_granule);
}

TEST_CASE("an arena whose table finds no place in memory says so, and is as it was") {
    const int code = support::in_a_child([] {
        Shared shared;
        const std::uint32_t first = shared.arena.allocate(1);
        rlimit before{};
        ::getrlimit(RLIMIT_AS, &before);
        const rlimit none{1, before.rlim_max};
        ::setrlimit(RLIMIT_AS, &none);
        int failures = 0;
        try {
            shared.elsewhere.trim();
        } catch (const std::system_error&) {
            ++failures;
        }
        try {
            static_cast<void>(shared.elsewhere.allocate(1));
        } catch (const std::system_error&) {
            ++failures;
        }
        ::setrlimit(RLIMIT_AS, &before);
        return shared.elsewhere.allocate(1) == first + 1 ? failures : 3;
    });
    CHECK(code == (plait::detail::address_sanitizer ? code : 2));
}

TEST_CASE("an arena does not believe what the memory says of granules") {
    Shared shared;
    const std::uint32_t first = shared.arena.allocate(1);
    os::MemoryView view;
    CHECK_FALSE(shared.arena.holds(0, 1));
    CHECK_FALSE(shared.arena.holds(first, Arena::window_granules));
    CHECK_FALSE(shared.arena.holds(first, UINT32_MAX));
    CHECK_FALSE(shared.arena.holds(UINT32_MAX, 2));
    shared.state.granules = UINT32_MAX;  // more than there are: they are never mapped
    CHECK_FALSE(shared.arena.holds(Arena::most_granules, 1));
    CHECK_THROWS_AS(shared.arena.at(Arena::window_granules), Error);
    CHECK_THROWS_AS(shared.arena.at(Arena::window_granules - 1, 2, view), Error);
    CHECK_THROWS_AS(shared.arena.at(first, Arena::window_granules + 1, view), Error);
}
