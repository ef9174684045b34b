// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace plait::inline PLAIT_ABI::threading::detail {

using namespace plait::detail;

/// Memory for small tasks that one thread at a time makes and any thread destroys, soon after and roughly in order: each
/// page is filled from its begin to its end, and filled again once all that stood in it is gone.
///
/// malloc takes ten times as long for what another thread frees. It is not for what a user may keep: one block that
/// stays would keep its page.
class TaskPages {
    static constexpr std::size_t page_size = 4096;
    static constexpr std::uint32_t open = 1U << 31;  // more than there can be blocks in a page

    struct Page {
        explicit Page(TaskPages& owner_) noexcept : owner{owner_} {}
        TaskPages& owner;
        Page* next = nullptr;
        // How many blocks live in it, and `open` while more can be made: who brings it to zero gives the page back.
        std::atomic<std::uint32_t> live{open};
    };

public:
    TaskPages() = default;
    TaskPages(const TaskPages&) = delete;
    TaskPages& operator=(const TaskPages&) = delete;
    /// All blocks must be gone.
    ~TaskPages() {
        if (page_ != nullptr) free_page(page_);
        free_all(spare_);
        free_all(returned_.load(std::memory_order_acquire));
    }

    /// Whether a task so large is worth a place in a page.
    template <class T>
    static constexpr bool suits = sizeof(T) <= 256 && alignof(T) <= alignof(std::max_align_t) && !address_sanitizer;

    /// For the one thread that makes tasks now. Throws: std::bad_alloc.
    [[nodiscard]] void* allocate(std::size_t size) {
        size = rounded(size);
        if (page_ == nullptr || page_size - used_ < size) open_page();
        void* const block = reinterpret_cast<std::byte*>(page_) + used_;
        used_ += size;
        ++made_;
        return block;
    }
    /// For any thread, while the TaskPages that gave it lives.
    static void deallocate(void* block) noexcept {
        Page* const page = reinterpret_cast<Page*>(reinterpret_cast<std::uintptr_t>(block) & ~(page_size - 1));
        drop(*page, 1);
    }

private:
    static constexpr std::size_t rounded(std::size_t size) noexcept {
        constexpr std::size_t step = alignof(std::max_align_t);
        return (size + step - 1) / step * step;
    }
    static void drop(Page& page, std::uint32_t blocks) noexcept {
        // acq_rel: who fills the page again comes after everything that was done with the blocks.
        if (page.live.fetch_sub(blocks, std::memory_order_acq_rel) == blocks) page.owner.give_back(page);
    }
    void give_back(Page& page) noexcept {
        page.next = returned_.load(std::memory_order_relaxed);
        // Release pairs with the acquire in open_page, which takes all at once: no page can come back in between.
        while (
            !returned_.compare_exchange_weak(page.next, &page, std::memory_order_release, std::memory_order_relaxed)) {
        }
    }
    void open_page() {
        if (spare_ == nullptr) spare_ = returned_.exchange(nullptr, std::memory_order_acquire);
        Page* page = spare_;
        if (page != nullptr) {
            spare_ = page->next;
            page->live.store(open, std::memory_order_relaxed);
        } else {
            page = ::new (::operator new(page_size, std::align_val_t{page_size})) Page{*this};
        }
        // The old one is closed: what lives in it is all that will.
        if (page_ != nullptr) drop(*page_, open - made_);
        page_ = page;
        used_ = rounded(sizeof(Page));
        made_ = 0;
    }
    static void free_page(Page* page) noexcept { ::operator delete(page, std::align_val_t{page_size}); }
    static void free_all(Page* page) noexcept {
        while (page != nullptr) {
            Page* const next = page->next;
            free_page(page);
            page = next;
        }
    }

    Page* page_ = nullptr;                              // the one that is being filled
    std::size_t used_ = 0;                              // how far
    std::uint32_t made_ = 0;                            // how many blocks were made in it
    Page* spare_ = nullptr;                             // empty ones
    alignas(64) std::atomic<Page*> returned_{nullptr};  // pages that others gave back
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
