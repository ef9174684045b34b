// SPDX-License-Identifier: MIT
#include <plait/threading/detail/segmented_fifo.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

using plait::threading::detail::SegmentedFifo;

namespace {

/// Can be constructed, and that is all; throws when told to.
class Stone {
public:
    Stone(int v, bool throws, std::shared_ptr<int> s) : value{v}, share{std::move(s)} {
        if (throws) throw std::runtime_error("stone");
    }
    Stone(const Stone&) = delete;
    Stone& operator=(const Stone&) = delete;

    int value;
    std::shared_ptr<int> share;
};

}  // namespace

TEST_CASE("a fifo gives what was put in the order in which it came, however it grows and shrinks") {
    SegmentedFifo<int> fifo;
    CHECK(fifo.front() == nullptr);
    int put = 0;
    int taken = 0;
    for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 13 * (round % 50); ++i) fifo.emplace(put++);
        for (int i = 0; i < 13 * (49 - round % 50) && taken < put; ++i) {
            REQUIRE(fifo.front() != nullptr);
            REQUIRE(*fifo.front() == taken++);
            fifo.pop();
        }
        REQUIRE(fifo.put_count() == static_cast<std::uint64_t>(put));
        REQUIRE(fifo.taken_count() == static_cast<std::uint64_t>(taken));
    }
    for (; taken < put; fifo.pop()) REQUIRE(*fifo.front() == taken++);
    CHECK(fifo.front() == nullptr);
}

TEST_CASE("a fifo holds what can only be constructed, and destroys it when it goes, or goes itself") {
    const auto share = std::make_shared<int>(0);
    {
        SegmentedFifo<Stone> fifo;
        for (int i = 0; i < 500; ++i) fifo.emplace(i, false, share);
        CHECK(share.use_count() == 501);
        for (int i = 0; i < 300; ++i) {
            REQUIRE(fifo.front()->value == i);
            fifo.pop();
            REQUIRE(share.use_count() == 500 - i);
        }
    }
    CHECK(share.use_count() == 1);
}

TEST_CASE("a constructor that throws leaves a fifo unchanged, also where it would have begun a segment") {
    const auto share = std::make_shared<int>(0);
    {
        SegmentedFifo<Stone> fifo;
        for (int i = 0; i < 500; ++i) {
            REQUIRE_THROWS_AS(fifo.emplace(i, true, share), std::runtime_error);
            REQUIRE(fifo.put_count() == static_cast<std::uint64_t>(i));
            if (i == 0) REQUIRE(fifo.front() == nullptr);
            fifo.emplace(i, false, share);
        }
        for (int i = 0; i < 500; ++i) {
            REQUIRE(fifo.front()->value == i);
            fifo.pop();
        }
        CHECK_THROWS_AS(fifo.emplace(0, true, share), std::runtime_error);
        CHECK(fifo.front() == nullptr);
    }
    {
        SegmentedFifo<Stone> fifo;
        CHECK_THROWS_AS(fifo.emplace(0, true, share), std::runtime_error);
    }
    CHECK(share.use_count() == 1);
}

TEST_CASE("a fifo is constant-initialised") {
    static constinit SegmentedFifo<int> fifo;
    CHECK(fifo.front() == nullptr);
}

TEST_CASE("two threads put and take at once, without a lock") {
    SegmentedFifo<int> fifo;
    constexpr int count = 200'000;
    std::thread putter{[&] {
        for (int i = 0; i < count; ++i) {
            fifo.emplace(i);
            // Sometimes the other one shall catch up.
            while (i % 5000 == 0 && fifo.taken_count() < static_cast<std::uint64_t>(i)) std::this_thread::yield();
        }
    }};
    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        const int* item = fifo.front();
        for (; item == nullptr; item = fifo.front()) std::this_thread::yield();
        wrong += *item == i ? 0 : 1;
        fifo.pop();
    }
    putter.join();
    CHECK(wrong == 0);
    CHECK(fifo.taken_count() == count);
}

TEST_CASE("several threads put and take at once, each side under a lock of its own") {
    SegmentedFifo<std::unique_ptr<int>> fifo;
    std::mutex putting;
    std::mutex taking;
    constexpr int each = 30'000;
    std::vector<std::atomic<int>> seen(2 * each);
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                auto item = std::make_unique<int>(t * each + i);
                const std::scoped_lock lock{putting};
                fifo.emplace(std::move(item));
            }
        });
        threads.emplace_back([&] {
            while (taken < 2 * each) {
                const std::scoped_lock lock{taking};
                if (std::unique_ptr<int>* const item = fifo.front()) {
                    ++seen[static_cast<std::size_t>(**item)];
                    fifo.pop();
                    ++taken;
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    int wrong = 0;
    for (const auto& count : seen) wrong += count == 1 ? 0 : 1;
    CHECK(wrong == 0);
}
