// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/shared_fifo.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

using plait::Error;
using plait::multiprocessing::detail::Arena;
using plait::multiprocessing::detail::FifoPlace;
using plait::multiprocessing::detail::FifoState;
using plait::multiprocessing::detail::SharedFifo;
namespace os = plait::os;

namespace {

os::Handle another(const os::Handle& handle) { return os::Handle{::fcntl(handle.get(), F_DUPFD_CLOEXEC, 3)}; }

struct Row {
    Row() { fifo.begin(); }

    void put(std::size_t size, int seed) {
        std::vector<std::byte> bytes(size);
        for (std::size_t i = 0; i < size; ++i)
            bytes[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(seed));
        fifo.put(std::span{bytes}.first(size / 3), std::span{bytes}.subspan(size / 3));
    }
    /// Whether the next item is the one that was put so; it is taken.
    bool takes(std::size_t size, int seed) {
        SharedFifo::Item item;
        if (!fifo.peek(item) || item.bytes.size() != size) return false;
        for (std::size_t i = 0; i < size; ++i)
            if (item.bytes[i] != static_cast<std::byte>(i * 7 + static_cast<std::size_t>(seed))) return false;
        fifo.take(item);
        return true;
    }
    std::size_t used_pages() const {
        struct stat status{};
        ::fstat(fifo.memory().get(), &status);
        return static_cast<std::size_t>(status.st_blocks) * 512;
    }

    FifoState state;
    SharedFifo fifo{state, os::make_anonymous_memory()};
};

constexpr std::size_t granule = Arena::granule_size;

}  // namespace

TEST_CASE("a row gives blocks of any size in turn") {
    Row row;
    const std::vector<std::size_t> sizes = {0, 1, 8, 32'752, 32'753, granule, granule + 1, 300 * granule, 5};
    for (const std::size_t size : sizes) row.put(size, 3);
    CHECK(row.fifo.size() == sizes.size());
    for (const std::size_t size : sizes) CHECK(row.takes(size, 3));
    SharedFifo::Item none;
    CHECK_FALSE(row.fifo.peek(none));
    CHECK(row.fifo.put_count() == sizes.size());
    CHECK(row.fifo.taken_count() == sizes.size());
}

TEST_CASE("an item that is looked at and not taken stays the next one") {
    Row row;
    row.put(100'000, 1);
    row.put(10, 2);
    SharedFifo::Item item;
    CHECK(row.fifo.peek(item));
    CHECK(row.fifo.peek(item));
    CHECK(row.takes(100'000, 1));
    CHECK(row.takes(10, 2));
}

TEST_CASE("an item that was looked at is taken without more memory") {
    const int code = support::in_a_child([] {
        Row row;
        // The first window is full: the row goes on beyond it, and there is no need to look at it but for its table.
        Arena filler{row.state.arena, another(row.fifo.memory())};
        static_cast<void>(filler.allocate(Arena::window_granules - Arena::first_granule - 1));
        for (int i = 0; i < 5; ++i) row.put(30'000, i);  // two to a segment
        for (int i = 0; i < 4; ++i)
            if (!row.takes(30'000, i)) return 1;
        SharedFifo elsewhere{row.state, another(row.fifo.memory())};
        SharedFifo::Item item;
        if (!elsewhere.peek(item) || item.left_segment == 0) return 2;
        rlimit before{};
        ::getrlimit(RLIMIT_AS, &before);
        const rlimit none{1, before.rlim_max};
        ::setrlimit(RLIMIT_AS, &none);
        elsewhere.take(item);
        ::setrlimit(RLIMIT_AS, &before);
        return row.fifo.size() == 0 ? 0 : 3;
    });
    CHECK(code == 0);
}

TEST_CASE("a row that is cleared and repaired holds no more than its last segment") {
    Row row;
    for (int i = 0; i < 100; ++i) row.put(200'000, i);
    row.put(10, 5);
    row.fifo.clear();
    row.fifo.repair();
    CHECK(row.fifo.size() == 0);
    row.fifo.trim();
    if (os::gives_memory_back) CHECK(row.used_pages() <= 20 * granule);
    row.put(7, 7);
    CHECK(row.takes(7, 7));
}

TEST_CASE("what a row does not know is free after a repair, and what it holds stays") {
    Row row;
    for (int i = 0; i < 3'000; ++i) row.put(100, i);
    row.put(500'000, 1);
    // As one leaves it that dies between taking memory and counting its item.
    Arena dead{row.state.arena, another(row.fifo.memory())};
    const std::uint32_t lost = dead.allocate(20);
    row.fifo.repair();
    CHECK(dead.allocate(20) == lost);
    for (int i = 0; i < 3'000; ++i) REQUIRE(row.takes(100, i));
    CHECK(row.takes(500'000, 1));
}

TEST_CASE("whatever is written into the memory, a row reads and writes nothing beyond it") {
    // In a process of its own: a wild access would end it.
    const int code = support::in_a_child([] {
        std::mt19937_64 random{20'261'121};
        int errors = 0;
        for (int round = 0; round < 3'000; ++round) {
            auto row = std::make_unique<Row>();
            row->put(100, 1);
            row->put(40'000, 2);
            for (int i = 0; i < 3; ++i) row->put(30'000, 3);
            // A few words, in what the processes share: the counts and places, the first frames, the table.
            Arena stranger{row->state.arena, another(row->fifo.memory())};
            for (std::uint64_t damages = random() % 4 + 1; damages != 0; --damages) {
                std::uint64_t word = random() >> random() % 64;
                const std::uint64_t where = random() % 4;
                if (where == 0) {
                    std::memcpy(reinterpret_cast<std::byte*>(&row->state) + random() % (sizeof row->state / 8) * 8,
                                &word, 8);
                } else if (where == 1) {
                    std::byte* const table = stranger.at(Arena::first_granule) - Arena::first_granule * granule;
                    std::memcpy(table + random() % 256 / 8 * 8, &word, 8);
                } else {
                    const std::uint64_t offset = where == 2 ? random() % 32 * 8 : random() % (2 * granule) / 8 * 8;
                    std::memcpy(stranger.at(Arena::first_granule) + offset, &word, 8);
                }
            }
            for (int i = 0; i < 8; ++i) {
                try {
                    SharedFifo::Item item;
                    if (!row->fifo.peek(item)) break;
                    unsigned sum = 0;
                    // In every page of it.
                    for (std::size_t at = 0; at < item.bytes.size(); at += 512)
                        sum += static_cast<unsigned>(item.bytes[at]);
                    if (sum == 1) errors += 0;
                    row->fifo.take(item);
                } catch (const std::exception&) {
                    ++errors;
                    break;
                }
            }
            try {
                row->put(50, 1);
                if (row->fifo.size() < 100) row->fifo.repair();
            } catch (const std::exception&) {
                ++errors;
            }
        }
        return errors > 100 ? 1 : 2;
    });
    CHECK(code == 1);
}
