// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <new>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Where coroutine frames and tasks get their memory: lists of freed blocks by size, one set a thread.
///
/// A block freed here is handed out here again without a lock. It may be freed on another thread than it came from, and
/// then serves that one. Each list is bounded, large blocks are not kept, and a thread's lists go with the thread.
void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

/// Gives a class its memory from the pool; `delete` through a base needs a virtual destructor, as ever.
struct FrameAllocated {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
    // For what asks for more than the usual alignment.
    static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
    static void operator delete(void* frame, std::size_t, std::align_val_t alignment) noexcept {
        ::operator delete(frame, alignment);
    }
};

class FramePool {
public:
    static constexpr std::size_t step = 16;
    static constexpr std::size_t largest = 1024;
    static constexpr std::size_t bytes_kept_each = 128 * 1024;

    static constexpr bool pools(std::size_t size) noexcept {
        return !plait::detail::address_sanitizer && size <= largest;
    }
    static constexpr std::size_t list_of(std::size_t size) noexcept { return (size - 1) / step; }
    static constexpr std::size_t rounded(std::size_t size) noexcept { return (list_of(size) + 1) * step; }

    /// A block, or null where the list is empty.
    void* take(std::size_t list) noexcept {
        Block* const block = lists_[list];
        if (block != nullptr) lists_[list] = block->next;
        return block;
    }
    /// False where there is no room for it.
    bool keep(void* frame, std::size_t list) noexcept {
        Block* const next = lists_[list];
        const std::size_t room = next != nullptr ? next->room : bytes_kept_;
        const std::size_t size = (list + 1) * step;
        if (room < size) return false;
        lists_[list] = ::new (frame) Block{next, room - size};
        return true;
    }
    /// Makes room, the first time that a block comes; false from then on.
    bool open() noexcept;

private:
    // A block tells how many bytes its list has room for: a counter beside the list would be written at each take, too.
    struct Block {
        Block* next;
        std::size_t room;
    };
    // Gives everything back at the thread's end. Apart from the pool, which thus needs no guard at each access.
    struct Closer {
        Closer() noexcept {}
        ~Closer();
    };

    Block* lists_[largest / step];
    std::size_t bytes_kept_;  // in each list at most: none until the thread's end is being watched, and after it
    bool opened_;
};

PLAIT_VISIBLE inline FramePool& frame_pool() noexcept {
    static constinit thread_local FramePool pool{};
    return pool;
}

inline bool FramePool::open() noexcept {
    if (opened_) return false;
    opened_ = true;
    static thread_local Closer closer;
    static_cast<void>(closer);
    bytes_kept_ = bytes_kept_each;
    return true;
}

inline FramePool::Closer::~Closer() {
    FramePool& pool = frame_pool();
    pool.bytes_kept_ = 0;
    for (std::size_t list = 0; list < largest / step; ++list)
        while (void* const block = pool.take(list)) ::operator delete(block);
}

inline void* allocate_frame(std::size_t size) {
    if (!FramePool::pools(size)) return ::operator new(size);
    if (void* const block = frame_pool().take(FramePool::list_of(size))) return block;
    return ::operator new(FramePool::rounded(size));
}

inline void free_frame(void* frame, std::size_t size) noexcept {
    if (FramePool::pools(size)) {
        FramePool& pool = frame_pool();
        const std::size_t list = FramePool::list_of(size);
        if (pool.keep(frame, list) || (pool.open() && pool.keep(frame, list))) return;
    }
    ::operator delete(frame);
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
