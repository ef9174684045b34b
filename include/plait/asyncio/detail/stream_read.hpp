// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/byte_source.hpp>
#include <plait/asyncio/detail/connection.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/waiter.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

// What a read asks for: `is_met` says whether there is enough, `receive` gets more, `take` gives the result or throws, and
// `give_back` undoes what `receive` took for a read that is given up.

struct ReadRequest {
    static bool receive(Connection& connection) noexcept { return connection.receive(); }
    static void give_back(ByteSource&) noexcept {}
};

struct ReadAll : ReadRequest {
    static bool is_met(const ByteSource& source) noexcept { return source.ended(); }
    static std::string take(ByteSource& source) {
        source.throw_if_failed();
        return source.received().take(SIZE_MAX);
    }
};

class ReadSome : public ReadRequest {
public:
    explicit ReadSome(std::size_t most) noexcept : most_{most} {}
    [[nodiscard]] bool is_met(const ByteSource& source) const noexcept {
        return !source.received().empty() || source.ended() || most_ == 0;
    }
    [[nodiscard]] std::string take(ByteSource& source) const {
        if (source.received().empty() && most_ != 0) source.throw_if_failed();
        return source.received().take(most_);
    }

private:
    std::size_t most_;
};

class ReadInto {
public:
    explicit ReadInto(std::span<char> room) noexcept : room_{room} {}
    [[nodiscard]] bool is_met(const ByteSource& source) const noexcept {
        return count_ != 0 || !source.received().empty() || source.ended() || room_.empty();
    }
    bool receive(Connection& connection) noexcept { return connection.receive_into(room_, count_); }
    void give_back(ByteSource& source) noexcept {
        if (count_ == 0) return;
        // What came with it, and had no room, comes after it.
        const std::string rest = source.received().take(SIZE_MAX);
        source.put({room_.data(), std::exchange(count_, 0)});
        source.put(rest);
    }
    [[nodiscard]] std::size_t take(ByteSource& source) {
        if (count_ == 0) count_ = source.received().take_into(room_.data(), room_.size());
        if (count_ == 0 && !room_.empty()) source.throw_if_failed();
        return std::exchange(count_, 0);
    }

private:
    std::span<char> room_;
    std::size_t count_ = 0;  // in room_, and not yet given
};

class ReadExactly : public ReadRequest {
public:
    explicit ReadExactly(std::size_t count) noexcept : count_{count} {}
    [[nodiscard]] bool is_met(const ByteSource& source) const noexcept {
        return source.received().size() >= count_ || source.ended();
    }
    [[nodiscard]] std::string take(ByteSource& source) const {
        if (source.received().size() >= count_) return source.received().take(count_);
        source.throw_if_failed();
        throw IncompleteReadError(source.received().take(SIZE_MAX), count_);
    }

private:
    std::size_t count_;
};

enum class AtEnd : std::uint8_t { fail, give };

class ReadUntil : public ReadRequest {
public:
    ReadUntil(std::string separator, AtEnd at_end, std::size_t limit) noexcept
        : separator_{std::move(separator)}, at_end_{at_end}, limit_{limit} {}
    [[nodiscard]] bool is_met(const ByteSource& source) noexcept {
        const std::string_view bytes = source.received().view();
        const std::size_t found = bytes.find(separator_, searched_);
        found_ = found != std::string_view::npos;
        // What may be the beginning of the separator is no part of the line yet.
        searched_ = found_ ? found : bytes.size() - (std::min)(bytes.size(), separator_.size() - 1);
        return found_ || searched_ > limit_ || source.ended();
    }
    [[nodiscard]] std::string take(ByteSource& source) const {
        if (searched_ > limit_)
            throw LimitOverrunError("the stream's limit of " + std::to_string(limit_) +
                                        " bytes comes before the separator: read(n) gives what there is",
                                    searched_);
        if (found_) return source.received().take(searched_ + separator_.size());
        source.throw_if_failed();
        std::string rest = source.received().take(SIZE_MAX);
        if (at_end_ == AtEnd::fail) throw IncompleteReadError(std::move(rest), 0);
        return rest;
    }

private:
    std::string separator_;
    AtEnd at_end_;
    std::size_t limit_;
    bool found_ = false;
    std::size_t searched_ = 0;  // so far there is no separator, or just here
};

/// Receives as bytes come, and wakes its task when there is enough.
template <class Request>
class ReadAwaiter : public AwaiterBase, private Waiter, private ReadyListener, private PendingRead {
public:
    ReadAwaiter(ConnectionRef connection, Request request) noexcept
        : connection_{std::move(connection)}, request_{std::move(request)} {}
    ~ReadAwaiter() {
        if (task_ != nullptr) give_up();
    }

    [[nodiscard]] bool await_ready() {
        connection_->begin_read(*this);
        while (!request_.is_met(connection_->source()))
            if (!request_.receive(*connection_)) {
                task_ = running().task;
                connection_->listen_for_bytes(*this);
                return false;
            }
        return true;
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        task_->suspend(handle, this);
    }
    auto await_resume() {
        if (task_ != nullptr && task_->cancel_due()) {
            give_up();
            task_->check_cancelled();
        }
        connection_->end_read(*this);
        return request_.take(connection_->source());
    }

private:
    void give_up() noexcept {
        stop_listening();
        request_.give_back(connection_->source());
        connection_->end_read(*this);
    }
    void on_ready() noexcept override {
        connection_->source().on_ready();
        // Once, whatever came: others are to be told, too.
        if (!connection_->source().ended()) static_cast<void>(request_.receive(*connection_));
        if (!request_.is_met(connection_->source())) {
            listen_again();
            if (is_listening()) return;
        }
        task_->wake();
    }
    void listen_again() noexcept {
        try {
            connection_->listen_for_bytes(*this);
        } catch (const std::system_error& error) {
            connection_->fail_reading(error.code().value());
        } catch (...) {
            connection_->fail_reading(static_cast<int>(std::errc::not_enough_memory));
        }
    }
    bool cancel_wait() noexcept override {
        stop_listening();
        return false;
    }
    void on_read_end() noexcept override {
        if (!is_listening()) return;  // it was told, and its task has its turn
        stop_listening();
        static_cast<void>(request_.is_met(connection_->source()));
        task_->wake();
    }
    [[nodiscard]] bool is_waiting() const noexcept override { return is_listening(); }

    ConnectionRef connection_;
    Request request_;
    TaskBase* task_ = nullptr;  // once it has to wait
};

/// What the reads of a StreamReader give: nothing happens before it is awaited.
template <class Request>
class [[nodiscard("it reads only when it is awaited")]] StreamRead {
public:
    StreamRead(ConnectionRef connection, Request request) noexcept
        : connection_{std::move(connection)}, request_{std::move(request)} {}
    ReadAwaiter<Request> operator co_await() const { return ReadAwaiter<Request>{connection_, request_}; }

private:
    ConnectionRef connection_;
    Request request_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
