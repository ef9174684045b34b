// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/future_state.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/remote_call.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Whoever waits for the items of one call: one for `apply`, many for `map`. Told of each item once, on the thread that
/// dispatches; its owners are counted, the queue being one.
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

/// What the items of one call have in common.
struct Call {
    Call(ItemSink& its_sink, CallableName its_callable, std::string_view its_name, Timeout its_timeout) noexcept
        : sink{its_sink}, callable{std::move(its_callable)}, name{its_name}, timeout{its_timeout} {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    /// Batches lost on the way (the engine ran out of memory) are a broken promise, never a hang.
    ~Call() {
        if (submitted) sink->abandon();
    }

    SinkPointer sink;
    CallableName callable;
    std::string_view name;   ///< for error texts
    Timeout timeout;         ///< of each item
    bool submitted = false;  ///< whether the engine has taken it
};

/// Items of one call that go to a worker together, with their arguments encoded one after the other, each behind its
/// size. Those before `next` are done with.
struct Batch {
    std::shared_ptr<Call> call;
    std::uint64_t first_task = 0;  ///< the number of the first item in the pool
    std::size_t first_item = 0;    ///< its index in the call
    std::size_t count = 0;
    std::size_t next = 0;
    std::vector<std::byte> arguments = {};
    std::vector<std::size_t> ends = {};  ///< where each item's bytes end

    [[nodiscard]] std::uint64_t task() const noexcept { return first_task + next; }
    [[nodiscard]] std::size_t item() const noexcept { return first_item + next; }
    [[nodiscard]] std::size_t left() const noexcept { return count - next; }
    [[nodiscard]] std::size_t begin_of(std::size_t index) const noexcept { return index == 0 ? 0 : ends[index - 1]; }

    /// Appends an item: `write` encodes its arguments.
    template <class Function>
    void add(Function write) {
        Encoder item;
        write(item);
        Encoder size;
        size.write(std::uint64_t{item.size()});
        arguments.insert(arguments.end(), size.bytes().begin(), size.bytes().end());
        arguments.insert(arguments.end(), item.bytes().begin(), item.bytes().end());
        ends.push_back(arguments.size());
        ++count;
    }

    /// A copy of the items from `begin` to `end`.
    [[nodiscard]] Batch slice(std::size_t begin, std::size_t end) const {
        Batch part{
            .call = call, .first_task = first_task + begin, .first_item = first_item + begin, .count = end - begin};
        const std::size_t from = begin_of(begin);
        part.arguments.assign(arguments.begin() + static_cast<std::ptrdiff_t>(from),
                              arguments.begin() + static_cast<std::ptrdiff_t>(begin_of(end)));
        part.ends.reserve(part.count);
        for (std::size_t i = begin; i < end; ++i) part.ends.push_back(ends[i] - from);
        return part;
    }

    /// Keeps the first `kept` of the items that are left, and returns the others.
    Batch split_after(std::size_t kept) {
        const std::size_t at = next + kept;
        Batch rest = slice(at, count);
        arguments.resize(begin_of(at));
        ends.resize(at);
        count = at;
        return rest;
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
