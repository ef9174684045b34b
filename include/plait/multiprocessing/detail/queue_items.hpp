// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/shared_queue.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Whether to decode a `T` runs code of the user's: a Codec, or how a map compares its keys.
template <class T, class... Outer>
consteval bool runs_user_code();

template <class... Outer, class... Parts>
consteval bool any_runs_user_code(TypeList<Parts...>) {
    return (runs_user_code<Parts, Outer...>() || ...);
}

template <class T, class... Outer>
consteval bool runs_user_code() {
    constexpr Shape s = shape<T>;
    if constexpr ((std::is_same_v<T, Outer> || ...)) {
        return false;
    } else if constexpr (s == Shape::user || s == Shape::associative) {
        return true;
    } else if constexpr (s == Shape::array || s == Shape::sequence || s == Shape::forward_list ||
                         s == Shape::optional) {
        return runs_user_code<std::remove_cv_t<typename T::value_type>, T, Outer...>();
    } else if constexpr (s == Shape::owner) {
        return runs_user_code<std::remove_cv_t<typename T::element_type>, T, Outer...>();
    } else {
        return any_runs_user_code<T, Outer...>(PartsOf<T>{});
    }
}

template <class T>
std::span<const std::byte> item_bytes(const T& value) noexcept {
    return {reinterpret_cast<const std::byte*>(std::addressof(value)), sizeof(T)};
}

/// The memory in which this thread encodes its items, kept for the next one unless it has grown large.
class EncodingBuffer {
public:
    /// Empty, and of any capacity. Who takes it in between, as a Codec that puts in turn, gets one without.
    static std::vector<std::byte> take() noexcept {
        return has_ended() ? std::vector<std::byte>{} : std::exchange(own().bytes_, {});
    }
    static void give_back(std::vector<std::byte> bytes) noexcept {
        constexpr std::size_t keep = 64 * 1024;
        if (!has_ended() && bytes.capacity() <= keep) own().bytes_ = std::move(bytes);
    }

private:
    EncodingBuffer() = default;
    ~EncodingBuffer() { has_ended() = true; }

    static EncodingBuffer& own() noexcept {
        static thread_local EncodingBuffer buffer;
        return buffer;
    }
    /// Outlives the buffer: destructors of static and thread_local objects may put, too.
    static bool& has_ended() noexcept {
        static constinit thread_local bool ended = false;
        return ended;
    }

    std::vector<std::byte> bytes_;
};

/// Puts `item`: from where it lies, if its encoding is its bytes, else by way of a buffer.
template <class T>
void put_item(SharedQueue& queue, const T& item, Timeout timeout) {
    if constexpr (Bitwise<T>) {
        queue.put({}, item_bytes(item), timeout);
    } else if constexpr (shape<T> == Shape::sequence && BitwiseRange<T>) {
        const std::uint64_t count{item.size()};
        using Element = typename T::value_type;
        queue.put(item_bytes(count), {reinterpret_cast<const std::byte*>(item.data()), item.size() * sizeof(Element)},
                  timeout);
    } else {
        Encoder out{EncodingBuffer::take()};
        out.write(item);
        queue.put({}, out.bytes(), timeout);
        EncodingBuffer::give_back(out.take());
    }
}

template <class T>
T decode_item(std::span<const std::byte> bytes) {
    if constexpr (Bitwise<T>) {
        if (bytes.size() == sizeof(T)) return from_bytes<T>(bytes.data());
    }
    return decode<T>(bytes);
}

/// Takes the next item out. Where an exception says that these bytes are no `T`, the item is gone, and the next one can
/// be had; where there was no memory for it, it stays.
template <class T>
T get_item(SharedQueue& queue, Timeout timeout) {
    SharedQueue::Taking taking{queue, timeout};
    if constexpr (runs_user_code<T>()) {
        // Not under the lock: it may take its time, or use the queue.
        const std::vector<std::byte> copy(taking.bytes().begin(), taking.bytes().end());
        taking.take();
        return decode<T>(copy);
    } else {
        std::span<const std::byte> bytes = taking.bytes();
        // What is read twice is read from a copy, if that costs nothing: others may write there.
        alignas(std::max_align_t) std::array<std::byte, 256> copy;
        if (bytes.size() <= copy.size()) {
            if (!bytes.empty()) std::memcpy(copy.data(), bytes.data(), bytes.size());
            bytes = {copy.data(), bytes.size()};
        }
        try {
            T item = decode_item<T>(bytes);
            taking.take();
            return item;
        } catch (const std::bad_alloc&) {
            throw;
        } catch (...) {
            taking.take();
            throw;
        }
    }
}

/// The words of every queue between processes; each queue offers its own.
template <class T>
class QueueItems {
public:
    explicit QueueItems(std::ptrdiff_t maxsize) : queue_{SharedQueue::create(maxsize)} { check_item(); }
    explicit QueueItems(Decoder& in) : queue_{SharedQueue::decode(in)} {}
    // No moves: a handle always names a queue.
    QueueItems(const QueueItems&) = default;
    QueueItems& operator=(const QueueItems&) = default;

    friend bool operator==(const QueueItems& a, const QueueItems& b) noexcept { return a.queue_->is(*b.queue_); }

    void encode(Encoder& out) const { queue_->encode(out); }

    /// Puts `item` in the queue, waiting while it is full; it is there when this returns, also if this process ends at
    /// once. If it throws, the queue is unchanged.
    ///
    /// Throws: QueueShutDown after `shutdown`; UsageError after `close`; CodecError, and what a Codec throws, where it
    /// cannot be encoded; std::system_error where there is no memory.
    void put(const T& item) const { put_item(*queue_, item, Timeout::never()); }
    /// Waits for `timeout` at most. Throws also: QueueFull where there was no room.
    void put(const T& item, Timeout timeout) const { put_item(*queue_, item, timeout); }
    /// Does not wait. Throws also: QueueFull where there is no room, or where another process holds the queue for longer
    /// than a millisecond.
    void put_nowait(const T& item) const { put_item(*queue_, item, std::chrono::seconds{0}); }

    /// Takes the next item out, waiting while there is none.
    ///
    /// Throws: QueueShutDown once the queue was shut down and has given its last item; UsageError after `close`;
    /// CodecError for an item that is no `T`, which is gone then: the next one can be had; std::bad_alloc and
    /// std::system_error where there is no memory for it: it stays the next one, unless it was a Codec that threw.
    T get() const { return get_item<T>(*queue_, Timeout::never()); }
    /// Waits for `timeout` at most. Throws also: QueueEmpty where no item came.
    T get(Timeout timeout) const { return get_item<T>(*queue_, timeout); }
    /// Does not wait. Throws also: QueueEmpty where there is no item, or where another process holds the queue for longer
    /// than a millisecond.
    T get_nowait() const { return get_item<T>(*queue_, std::chrono::seconds{0}); }

    /// How many items are in it, whether there is none, and whether there is no room: where others put and take, that
    /// may have changed already.
    [[nodiscard]] std::size_t qsize() const { return queue_->size(); }
    [[nodiscard]] bool empty() const { return queue_->size() == 0; }
    [[nodiscard]] bool full() const { return queue_->full(); }
    [[nodiscard]] std::ptrdiff_t maxsize() const { return static_cast<std::ptrdiff_t>(queue_->maxsize()); }
    /// How many threads of all processes sleep in `put`, `get` or `join`; those killed there stay counted.
    [[nodiscard]] std::size_t waiting() const { return queue_->waiting(); }

    /// Of this handle and its copies, in this process, no more use is made: who waits by them, and who calls them later,
    /// gets a UsageError. Others go on. Twice is fine.
    void close() const { queue_->close(); }

    /// From now on, in all processes, `put` throws, and so does `get` once the queue is empty: at once if `immediate`,
    /// which drops what is in it, as if `task_done` had been called for each. Who waits is woken.
    void shutdown(bool immediate = false) const { queue_->shutdown(immediate); }
    [[nodiscard]] bool is_shutdown() const { return queue_->is_shutdown(); }

    void task_done() const { queue_->task_done(); }
    [[nodiscard]] bool join(Timeout timeout) const { return queue_->join(timeout); }

private:
    static constexpr void check_item() {
        static_assert(!carries_handles<T>(),
                      "plait: a lock, a queue, a connection or the like cannot be a queue's item, for nobody keeps it "
                      "until it is taken: pass it to a process at its start, or send it through a Connection");
        explain<T, Way::encode>();
        explain<T, Way::decode>();
    }

    std::shared_ptr<SharedQueue> queue_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
