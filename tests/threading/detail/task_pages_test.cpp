// SPDX-License-Identifier: MIT
#include <plait/threading/detail/task_pages.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

using plait::threading::detail::TaskPages;

namespace {

std::uintptr_t page_of(const void* block) { return reinterpret_cast<std::uintptr_t>(block) / 4096; }

}  // namespace

TEST_CASE("blocks are apart from each other, and aligned for anything") {
    TaskPages pages;
    std::vector<void*> blocks;
    for (std::size_t size = 1; size <= 256; ++size) {
        blocks.push_back(pages.allocate(size));
        CHECK(reinterpret_cast<std::uintptr_t>(blocks.back()) % alignof(std::max_align_t) == 0);
        std::memset(blocks.back(), static_cast<int>(size % 256), size);
    }
    for (std::size_t size = 1; size <= 256; ++size) {
        const auto* const bytes = static_cast<const unsigned char*>(blocks[size - 1]);
        bool whole = true;
        for (std::size_t i = 0; i < size; ++i) whole = whole && bytes[i] == size % 256;
        CHECK(whole);
        TaskPages::deallocate(blocks[size - 1]);
    }
}

TEST_CASE("a page is filled again once all that stood in it is gone") {
    TaskPages pages;
    std::set<std::uintptr_t> seen;
    for (int i = 0; i < 100'000; ++i) {
        void* const block = pages.allocate(64);
        seen.insert(page_of(block));
        TaskPages::deallocate(block);
    }
    CHECK(seen.size() <= 2);
}

TEST_CASE("a block that stays keeps its page, and no other") {
    TaskPages pages;
    void* const stays = pages.allocate(64);
    std::memset(stays, 7, 64);
    std::set<std::uintptr_t> seen;
    for (int i = 0; i < 1000; ++i) {
        void* const block = pages.allocate(64);
        std::memset(block, 1, 64);
        if (i >= 100) seen.insert(page_of(block));
        TaskPages::deallocate(block);
    }
    CHECK(seen.count(page_of(stays)) == 0);
    CHECK(static_cast<unsigned char*>(stays)[63] == 7);
    TaskPages::deallocate(stays);
}

TEST_CASE("what one thread makes others destroy, and every page comes back") {
    TaskPages pages;
    std::vector<std::atomic<void*>> slots(64);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&] {
            while (!done)
                for (auto& slot : slots)
                    if (void* const block = slot.exchange(nullptr)) TaskPages::deallocate(block);
        });
    std::set<std::uintptr_t> seen;
    for (std::size_t i = 0; i < 200'000; ++i) {
        void* const block = pages.allocate(48);
        seen.insert(page_of(block));
        if (void* const old = slots[i % slots.size()].exchange(block)) TaskPages::deallocate(old);
    }
    done = true;
    for (auto& thread : threads) thread.join();
    for (auto& slot : slots)
        if (void* const block = slot.exchange(nullptr)) TaskPages::deallocate(block);
    CHECK(seen.size() < 100);
}
