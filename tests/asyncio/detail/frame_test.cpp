// SPDX-License-Identifier: MIT
#include <plait/asyncio/detail/frame.hpp>

#include "support/catch.hpp"

#include <cstring>
#include <set>
#include <thread>
#include <vector>

using plait::asyncio::detail::allocate_frame;
using plait::asyncio::detail::frame_pool;
using plait::asyncio::detail::FramePool;
using plait::asyncio::detail::free_frame;

namespace {

constexpr bool pooled = FramePool::pools(1);

}  // namespace

TEST_CASE("a freed frame is handed out again for one of its size") {
    free_frame(allocate_frame(100), 100);  // opens the pool
    void* const first = allocate_frame(100);
    std::memset(first, 1, 100);
    free_frame(first, 100);
    void* const same_class = allocate_frame(112);
    if (pooled) CHECK(same_class == first);
    free_frame(same_class, 112);
}

TEST_CASE("frames of every size are apart, and may be written to their ends") {
    std::vector<void*> frames;
    std::set<void*> distinct;
    for (std::size_t size = 1; size < 3000; size += 7) {
        frames.push_back(allocate_frame(size));
        std::memset(frames.back(), 0x5A, size);
        distinct.insert(frames.back());
    }
    CHECK(distinct.size() == frames.size());
    std::size_t size = 1;
    for (void* const frame : frames) {
        free_frame(frame, size);
        size += 7;
    }
}

TEST_CASE("a thread keeps a bounded number of freed frames") {
    constexpr std::size_t size = 1024;
    constexpr std::size_t most = FramePool::bytes_kept_each / size;
    std::thread thread{[&] {
        std::vector<void*> frames;
        for (std::size_t i = 0; i < 2 * most; ++i) frames.push_back(allocate_frame(size));
        for (void* const frame : frames) free_frame(frame, size);
    }};
    thread.join();
    std::size_t kept = 0;
    std::thread counter{[&] {
        std::vector<void*> frames;
        for (std::size_t i = 0; i < 2 * most; ++i) frames.push_back(allocate_frame(size));
        for (void* const frame : frames) free_frame(frame, size);
        while (void* const frame = frame_pool().take(FramePool::list_of(size))) {
            ++kept;
            ::operator delete(frame);
        }
    }};
    counter.join();
    CHECK(kept == (pooled ? most : 0));
}

TEST_CASE("a frame may be freed on another thread than it came from") {
    std::vector<void*> frames;
    for (int i = 0; i < 100; ++i) frames.push_back(allocate_frame(200));
    // This thread only frees; what it keeps goes with it, or the leak check finds it.
    std::thread other{[&] {
        for (void* const frame : frames) free_frame(frame, 200);
    }};
    other.join();
    CHECK(frames.size() == 100);
}
