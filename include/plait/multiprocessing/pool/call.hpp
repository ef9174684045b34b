// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/future_state.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/remote_call.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Whoever waits for the items of one call: one for `apply`, many for `map`. Told of each item once, of several at a time
/// by several threads; its owners are counted, the call being one.
class ItemSink {
public:
    /// Before an item is first sent: false where nobody wants it any more, and nothing is told of it then.
    virtual bool begin() noexcept = 0;
    /// The item's encoded result. A CodecError of the decoding is the item's error.
    virtual void succeed(std::size_t item, Decoder& result) noexcept = 0;
    virtual void fail(std::size_t item, std::exception_ptr exception) noexcept = 0;
    /// Nobody will tell of the items that are left.
    virtual void abandon() noexcept = 0;

    virtual void retain() noexcept = 0;
    virtual void release() noexcept = 0;

protected:
    ~ItemSink() = default;
};

/// Keeps a sink alive.
class SinkPointer {
public:
    explicit SinkPointer(ItemSink& sink) noexcept : sink_{&sink} { sink_->retain(); }
    SinkPointer(SinkPointer&& other) noexcept : sink_{std::exchange(other.sink_, nullptr)} {}
    SinkPointer& operator=(SinkPointer&& other) noexcept {
        std::swap(sink_, other.sink_);
        return *this;
    }
    ~SinkPointer() {
        if (sink_ != nullptr) sink_->release();
    }
    ItemSink* operator->() const noexcept { return sink_; }
    friend bool operator==(const SinkPointer& a, const SinkPointer& b) noexcept { return a.sink_ == b.sink_; }

private:
    ItemSink* sink_;
};

/// The size of an item's arguments, before them.
inline void write_item_size(Encoder& out, std::size_t size) {
    constexpr std::uint32_t follows = 0xFFFFFFFF;
    const bool is_large = size >= follows;
    const std::uint32_t word = is_large ? follows : static_cast<std::uint32_t>(size);
    out.write_bytes(std::as_bytes(std::span{&word, 1}));
    const std::uint64_t whole = size;
    if (is_large) out.write_bytes(std::as_bytes(std::span{&whole, 1}));
}
inline std::span<const std::byte> read_item(Decoder& in) {
    constexpr std::uint32_t follows = 0xFFFFFFFF;
    std::uint32_t word;
    std::memcpy(&word, in.read_bytes(sizeof word).data(), sizeof word);
    if (word != follows) return in.read_bytes(word);
    std::uint64_t whole;
    std::memcpy(&whole, in.read_bytes(sizeof whole).data(), sizeof whole);
    return in.read_bytes(static_cast<std::size_t>(whole));
}

/// One call on a pool: its function, and its items with their arguments encoded one after the other.
struct Call {
    Call(ItemSink& its_sink, const CallableName& its_callable, std::string_view its_name, Timeout its_timeout)
        : sink{its_sink}, name{its_name}, timeout{its_timeout} {
        Encoder out;
        out.write(its_callable);
        callable = out.take();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    /// Items lost on the way (the engine ran out of memory) are a broken promise, never a hang.
    ~Call() {
        if (submitted) sink->abandon();
    }

    /// Appends an item: `write` encodes its arguments.
    template <class Function>
    void add(Encoder& scratch, Function write) {
        scratch.clear();
        write(scratch);
        write_item_size(arguments, scratch.size());
        arguments.write_bytes(scratch.bytes());
        ++count;
    }

    SinkPointer sink;
    std::vector<std::byte> callable;  ///< the encoded CallableName
    std::string_view name;            ///< for error texts
    Timeout timeout;                  ///< of each item
    bool told_singly = false;         ///< whether somebody waits for each item, and not for all
    Encoder arguments;
    std::size_t count = 0;
    std::size_t chunk = 1;         ///< how many items travel together
    std::uint64_t first_task = 0;  ///< the number of the first item in the pool
    bool submitted = false;        ///< whether the engine has taken it
    unsigned deaths_before = 0;    ///< how many workers died before they had begun its next item
};

/// Items of one call, one after the other: `[first, end)`, of which those before `next` are done with.
struct Batch {
    std::shared_ptr<Call> call;
    std::size_t first = 0;
    std::size_t next = 0;
    std::size_t end = 0;
    std::size_t begin_byte = 0;  ///< where the arguments of item `first` begin
    std::size_t end_byte = 0;

    /// All items of `call`.
    static Batch of(std::shared_ptr<Call> call) noexcept {
        const std::size_t count = call->count;
        const std::size_t size = call->arguments.size();
        return {std::move(call), 0, 0, count, 0, size};
    }

    [[nodiscard]] std::uint64_t task() const noexcept { return call->first_task + next; }
    [[nodiscard]] std::uint64_t first_task() const noexcept { return call->first_task + first; }
    [[nodiscard]] std::size_t size() const noexcept { return end - first; }
    [[nodiscard]] std::size_t left() const noexcept { return end - next; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return call->arguments.bytes().subspan(begin_byte, end_byte - begin_byte);
    }

    /// Takes the first `count` items, of which none is done.
    Batch take(std::size_t count) {
        const std::size_t middle = byte_of(first + count);
        Batch taken{call, first, first, first + count, begin_byte, middle};
        first = next = taken.end;
        begin_byte = middle;
        return taken;
    }
    /// Leaves out those that are done with.
    void trim() {
        begin_byte = byte_of(next);
        first = next;
    }

private:
    [[nodiscard]] std::size_t byte_of(std::size_t item) const {
        if (item == end) return end_byte;
        Decoder in(bytes());
        for (std::size_t i = first; i < item; ++i) static_cast<void>(read_item(in));
        return end_byte - in.remaining();
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
