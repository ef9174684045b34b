// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/protocol.hpp>
#include <plait/multiprocessing/remote_exception.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What was taken from workers under the engine's lock, and is told to whom it concerns without it: decoding a value, and
/// destroying a call, run the user's code.
class Harvest {
public:
    [[nodiscard]] bool empty() const noexcept { return runs_.empty() && failures_.empty() && dropped_.empty(); }

    /// How many bytes are to be decoded.
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t size = small_.size();
        for (const auto& buffer : large_) size += buffer.size();
        return size;
    }

    /// Whole replies to the `count` items of `call` from `item` on: a part of what `keep` is then called with.
    void add_replies(const std::shared_ptr<Call>& call, std::size_t item, std::size_t count, std::size_t begin,
                     std::size_t end) {
        runs_.push_back({call, item, count, begin, end, unkept});
    }
    /// The bytes up to `end` that those replies are in; takes them out of `bytes`.
    void keep(std::vector<std::byte>& bytes, std::size_t end) {
        constexpr std::size_t large = 32 * 1024;
        std::size_t offset = 0;
        std::size_t buffer = in_small;
        if (end < large) {
            offset = small_.size();
            small_.insert(small_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(end));
            bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(end));
        } else {
            std::vector<std::byte> rest(bytes.begin() + static_cast<std::ptrdiff_t>(end), bytes.end());
            buffer = large_.size();
            large_.push_back(std::move(bytes));
            bytes = std::move(rest);
        }
        for (std::size_t i = runs_.size(); i > 0 && runs_[i - 1].buffer == unkept; --i) {
            runs_[i - 1].buffer = buffer;
            runs_[i - 1].begin += offset;
            runs_[i - 1].end += offset;
        }
    }
    /// The items `[first, end)` of `call` have failed.
    void add_failure(std::shared_ptr<Call> call, std::size_t first, std::size_t end, std::exception_ptr exception) {
        if (first < end) failures_.push_back({std::move(call), first, end, std::move(exception)});
    }
    /// Nobody wants it any more.
    void drop(std::shared_ptr<Call> call) { dropped_.push_back(std::move(call)); }
    void drop_all(std::vector<std::shared_ptr<Call>>& calls) {
        if (dropped_.empty()) return dropped_.swap(calls);
        for (auto& call : calls) dropped_.push_back(std::move(call));
        calls.clear();
    }

    /// Tells all of it, and is empty then.
    void settle() noexcept {
        for (const Run& run : runs_) {
            if (run.buffer == unkept) continue;  // there was no memory to keep it: its call's end tells
            const auto& buffer = run.buffer == in_small ? small_ : large_[run.buffer];
            settle(run, std::span{buffer}.subspan(run.begin, run.end - run.begin));
        }
        for (const Failure& failure : failures_)
            for (std::size_t item = failure.first; item < failure.end; ++item)
                failure.call->sink->fail(item, failure.exception);
        runs_.clear();
        failures_.clear();
        dropped_.clear();
        small_.clear();
        large_.clear();
    }

private:
    static constexpr std::size_t unkept = static_cast<std::size_t>(-1);
    static constexpr std::size_t in_small = static_cast<std::size_t>(-2);

    struct Run {
        std::shared_ptr<Call> call;
        std::size_t item;
        std::size_t count;
        std::size_t begin;
        std::size_t end;
        std::size_t buffer;  // in large_, or `in_small`, or `unkept`
    };
    struct Failure {
        std::shared_ptr<Call> call;
        std::size_t first;
        std::size_t end;
        std::exception_ptr exception;
    };

    static void settle(const Run& run, std::span<const std::byte> bytes) noexcept {
        ItemSink& sink = *run.call->sink.operator->();
        for (std::size_t item = run.item; item < run.item + run.count; ++item) {
            std::uint64_t word;
            std::memcpy(&word, bytes.data(), sizeof word);
            const Reply reply = Reply::unpack(word);
            const auto size = static_cast<std::size_t>(reply.size);
            Decoder payload(bytes.subspan(sizeof word, size));
            bytes = bytes.subspan(sizeof word + size);
            if (reply.kind == Reply::Kind::value)
                sink.succeed(item, payload);
            else
                sink.fail(item, decode_exception(payload));
        }
    }
    static std::exception_ptr decode_exception(Decoder& payload) noexcept {
        try {
            return read_exception(payload);
        } catch (...) {
            return std::current_exception();
        }
    }

    std::vector<Run> runs_;
    std::vector<Failure> failures_;
    std::vector<std::shared_ptr<Call>> dropped_;
    std::vector<std::byte> small_;
    std::vector<std::vector<std::byte>> large_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
