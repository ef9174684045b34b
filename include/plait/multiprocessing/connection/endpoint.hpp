// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/connection/body.hpp>
#include <plait/multiprocessing/connection/message.hpp>
#include <plait/multiprocessing/connection/reader.hpp>
#include <plait/multiprocessing/connection/turns.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Which ways an end goes.
struct Directions {
    bool receives = true;
    bool sends = true;
};

/// What a message that is sent consists of.
struct Letter {
    MessageHeader::Kind kind = MessageHeader::Kind::bytes;
    std::uint64_t type = 0;
    std::string_view type_name = {};  ///< to be told to the other end, once
    std::array<std::span<const std::byte>, 2> pieces{};
    std::span<const os::NativeHandle> handles{};
};

/// One end of a connection: sends and receives whole messages, one thread at a time in each direction, and is closed
/// from any thread. What a value is it does not know.
class Endpoint {
public:
    Endpoint(os::Handle end, Directions directions) : end_{std::move(end)}, directions_{directions} {}
    Endpoint(const Endpoint&) = delete;
    Endpoint& operator=(const Endpoint&) = delete;
    ~Endpoint() { close(); }

    /// False where not a byte went by `deadline`. Throws: TimeoutError where only a part did, and nothing can follow it;
    /// UsageError, CodecError and std::system_error as Connection::send says.
    [[nodiscard]] bool send(const Letter& letter, plait::detail::Deadline deadline);
    /// False where no message was whole by `deadline`; what has come stays. `maker` for one that begins meanwhile.
    /// Throws: EndOfStream; UsageError where it is closed, also meanwhile; CodecError; std::system_error.
    [[nodiscard]] bool receive(Message& message, const BodyMaker& maker, plait::detail::Deadline deadline);
    /// Whether `receive` would give a message, or throw, at once.
    [[nodiscard]] bool poll(plait::detail::Deadline deadline);

    /// What a look from `wait` finds: `busy` where another thread is receiving.
    enum class State { idle, ready, busy, closed };
    /// Reads what is there if `may_read`; never blocks.
    [[nodiscard]] State look(bool may_read);
    /// While one stands in it, the end is not closed under it. False where it is closed.
    [[nodiscard]] bool begin_watching() {
        return turns_.enter(Turns::Use::look, plait::detail::Deadline::never()) == Turns::Entry::entered;
    }
    void end_watching() noexcept { leave(Turns::Use::look); }
    [[nodiscard]] os::NativeHandle native() const noexcept { return end_.get(); }

    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return turns_.closed(); }
    [[nodiscard]] Directions directions() const noexcept { return directions_; }

    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
    void set_limit(std::uint64_t limit) noexcept { limit_.store(limit, std::memory_order_relaxed); }
    /// For the user's own poll: from now on nothing is read ahead. Throws: UsageError.
    [[nodiscard]] os::NativeHandle give_native();

    /// Calls `use(reader)` as the one who receives. Throws: UsageError where another thread does, or it is closed.
    template <class Function>
    void use_reader(Function use);
    [[nodiscard]] std::size_t waiting() const { return turns_.waiting(); }
    /// Whether a message was left unfinished.
    [[nodiscard]] bool cut_off() const noexcept { return cut_off_.load(std::memory_order_relaxed); }

private:
    // What a thread blocks with in one direction, so that `close` can reach it.
    struct Blocking {
        std::atomic<os::Waker*> waker{nullptr};  // of this process; written by who has the turn
        std::vector<std::unique_ptr<os::Waker>> wakers;
        std::int64_t process = 0;
    };
    class Turn {
    public:
        Turn(Endpoint& end, Turns::Use use) noexcept : end_{end}, use_{use} {}
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() { end_.leave(use_); }

    private:
        Endpoint& end_;
        Turns::Use use_;
    };

    [[nodiscard]] bool enter(Turns::Use use, plait::detail::Deadline deadline);
    void leave(Turns::Use use) noexcept;
    void check_open() const {
        if (turns_.closed()) throw_closed();
    }
    [[noreturn]] static void throw_copied(Turns::Use use) {
        throw UsageError(std::string("this process is a copy, made while a thread of the original ") +
                         (use == Turns::Use::send ? "sent to" : "received from") +
                         " this connection, and can do no such thing with its own end: close it here");
    }
    [[noreturn]] static void throw_closed() { throw UsageError("this connection is closed: a Pipe() gives new ones"); }
    /// Waits until `events`; false at the deadline.
    [[nodiscard]] bool block(Blocking& blocking, short events, plait::detail::Deadline deadline);
    static os::Waker* waker_of(Blocking& blocking) noexcept;

    /// Reads what is there; false where nothing is.
    bool fetch(const BodyMaker& maker);
    /// Whether there is a message or the end, by `deadline`.
    bool fetch_message(const BodyMaker& maker, plait::detail::Deadline deadline);
    [[nodiscard]] bool send_all(std::span<std::span<const std::byte>> pieces, std::span<const os::NativeHandle> handles,
                                plait::detail::Deadline deadline);

    Turns turns_;
    os::Handle end_;
    Directions directions_;
    std::atomic<std::uint64_t> limit_{MessageReader::default_limit};

    // Of who has the turn to receive.
    MessageReader reader_;
    bool ended_ = false;  // the other end is gone, and all that it sent was read
    Blocking receiving_;

    // Of who has the turn to send.
    std::vector<std::uint64_t> told_types_;  // whose names the other end knows
    std::atomic<bool> cut_off_{false};       // a message was left unfinished: nothing that follows would be understood
    Blocking sending_;
};

inline bool Endpoint::enter(Turns::Use use, plait::detail::Deadline deadline) {
    const Turns::Entry entry = turns_.enter(use, deadline);
    if (entry == Turns::Entry::closed) throw_closed();
    if (entry == Turns::Entry::copied) throw_copied(use);
    return entry == Turns::Entry::entered;
}

inline void Endpoint::leave(Turns::Use use) noexcept {
    if (!turns_.leave(use)) return;
    end_.reset();
    // A copy of the program may close this once more.
    for (Blocking* const blocking : {&receiving_, &sending_}) blocking->waker.store(nullptr, std::memory_order_relaxed);
    receiving_.wakers.clear();
    sending_.wakers.clear();
}

inline void Endpoint::close() noexcept {
    if (!turns_.close()) return;
    for (Blocking* const blocking : {&receiving_, &sending_})
        if (os::Waker* const waker = blocking->waker.load(std::memory_order_seq_cst)) waker->wake();
    leave(Turns::Use::look);
}

inline os::Waker* Endpoint::waker_of(Blocking& blocking) noexcept {
    // A copy of the program makes its own: its parent's would be heard there.
    if (blocking.wakers.empty() || blocking.process != os::process_id()) {
        try {
            blocking.wakers.push_back(std::make_unique<os::Waker>());
        } catch (...) {
            return nullptr;  // no descriptor, or no memory, is left
        }
        blocking.process = os::process_id();
        // Sequentially consistent, as the look at `closed` after it: either `close` sees the waker, or that its word.
        blocking.waker.store(blocking.wakers.back().get(), std::memory_order_seq_cst);
    }
    return blocking.wakers.back().get();
}

inline bool Endpoint::block(Blocking& blocking, short events, plait::detail::Deadline deadline) {
    constexpr std::chrono::milliseconds slice{50};  // how often one looks that nobody can wake
    for (;;) {
        if (deadline.has_passed()) return false;
        os::Waker* const waker = waker_of(blocking);
        check_open();
        os::PollItem items[] = {{end_.get(), events},
                                {waker != nullptr ? waker->handle() : os::Handle::none, os::readable}};
        const auto until = waker != nullptr ? deadline : (std::min)(deadline, plait::detail::Deadline{slice});
        static_cast<void>(os::poll(items, until));
        // One that was not for us, from a copy of the program that still has this one's waker.
        if (items[1].is_ready()) waker->clear();
        check_open();
        if (items[0].is_ready()) return true;
    }
}

inline bool Endpoint::fetch(const BodyMaker& maker) {
    std::vector<os::Handle> handles;
    const os::Transfer received = os::receive_some(end_, reader_.room(maker), handles);
    ended_ = received.closed;
    if (received.count != 0) reader_.came(received.count, std::move(handles));
    return ended_ || received.count != 0;
}

inline bool Endpoint::fetch_message(const BodyMaker& maker, plait::detail::Deadline deadline) {
    reader_.set_limit(limit());
    int late = 64;
    while (!reader_.ready() && !ended_) {
        // What is there is read past the deadline too, but not for ever what comes and comes.
        const bool fetched = fetch(maker);
        if (deadline.has_passed() && (!fetched || --late == 0)) return reader_.ready() || ended_;
        if (fetched) continue;
        // Whoever sends is about to send more, as a rule: to be woken for each piece costs both more than a look.
        if (plait::detail::yield_until([&] { return fetch(maker); })) continue;
        if (!block(receiving_, os::readable, deadline)) return false;
    }
    return true;
}

inline bool Endpoint::receive(Message& message, const BodyMaker& maker, plait::detail::Deadline deadline) {
    if (!enter(Turns::Use::receive, deadline)) return false;
    const Turn turn{*this, Turns::Use::receive};
    const struct KeepBody {
        ~KeepBody() { reader.keep_body(); }
        MessageReader& reader;
    } keep_body{reader_};
    if (!fetch_message(maker, deadline)) return false;
    if (reader_.next(message)) return true;
    throw EndOfStream(
        reader_.in_message()
            ? "the other end of the connection was closed, or its process died, in the middle of a message"
            : "the other end of the connection is closed");
}

inline bool Endpoint::poll(plait::detail::Deadline deadline) {
    if (!enter(Turns::Use::receive, deadline)) return false;
    const Turn turn{*this, Turns::Use::receive};
    return fetch_message({}, deadline);
}

inline Endpoint::State Endpoint::look(bool may_read) {
    using plait::detail::Deadline;
    const Turns::Entry entry = turns_.enter(Turns::Use::receive, Deadline::at({}));
    if (entry == Turns::Entry::closed) return State::closed;
    if (entry == Turns::Entry::timed_out) return State::busy;
    if (entry == Turns::Entry::copied) throw_copied(Turns::Use::receive);
    const Turn turn{*this, Turns::Use::receive};
    if (may_read) return fetch_message({}, Deadline::at({})) ? State::ready : State::idle;
    return reader_.ready() || ended_ ? State::ready : State::idle;
}

inline os::NativeHandle Endpoint::give_native() {
    if (directions_.receives) use_reader([](MessageReader& reader) { reader.stop_reading_ahead(); });
    check_open();
    return end_.get();
}

template <class Function>
void Endpoint::use_reader(Function use) {
    if (!enter(Turns::Use::receive, plait::detail::Deadline::at({})))
        throw UsageError("another thread is receiving from this connection: let it end first");
    const Turn turn{*this, Turns::Use::receive};
    use(reader_);
}

inline bool Endpoint::send(const Letter& letter, plait::detail::Deadline deadline) {
    const std::uint64_t size = letter.pieces[0].size() + letter.pieces[1].size();
    if (size > limit())
        throw CodecError("cannot send a message of " + std::to_string(size) + " bytes: max_message_size is " +
                         std::to_string(limit()));
    if (!enter(Turns::Use::send, deadline)) return false;
    const Turn turn{*this, Turns::Use::send};
    if (cut_off())
        throw UsageError("a message was cut off at its timeout, so nothing can follow it: close this connection");

    const bool tell = !letter.type_name.empty() &&
                      std::find(told_types_.begin(), told_types_.end(), letter.type) == told_types_.end();
    if (tell) told_types_.reserve(told_types_.size() + 1);  // nothing fails once the message is sent
    const std::string_view name = tell ? letter.type_name.substr(0, MessageHeader::longest_name) : std::string_view{};
    const std::size_t name_units = (name.size() + MessageHeader::name_unit - 1) / MessageHeader::name_unit;
    const auto header = MessageHeader::of(letter.kind, size, letter.handles.size(), name_units, letter.type);

    // One block, and so the plainer system call, where that costs but a short copy.
    constexpr std::size_t short_size = 1024;
    alignas(16) std::byte block[sizeof header + MessageHeader::longest_name + short_size];
    std::size_t used = 0;
    const auto add = [&](const void* data, std::size_t count) {
        if (count != 0) std::memcpy(block + used, data, count);
        used += count;
    };
    add(&header, sizeof header);
    add(name.data(), name.size());
    std::memset(block + used, 0, name_units * MessageHeader::name_unit - name.size());
    used += name_units * MessageHeader::name_unit - name.size();
    const bool is_short = size <= short_size;
    if (is_short)
        for (const auto& piece : letter.pieces) add(piece.data(), piece.size());
    std::array<std::span<const std::byte>, 3> pieces{std::span{block, used}, letter.pieces[0], letter.pieces[1]};
    if (!send_all(std::span{pieces}.first(is_short ? 1 : 3), letter.handles, deadline)) return false;
    if (tell) told_types_.push_back(letter.type);
    return true;
}

inline bool Endpoint::send_all(std::span<std::span<const std::byte>> pieces, std::span<const os::NativeHandle> handles,
                               plait::detail::Deadline deadline) {
    // Whatever stops a message in its middle, the other end is told at once that there is no more of it.
    struct CutOff {
        ~CutOff() {
            if (!begun || finished) return;
            end.cut_off_.store(true, std::memory_order_relaxed);
            os::stop_sending(end.end_);
        }
        Endpoint& end;
        bool begun = false;
        bool finished = false;
    } state{*this};
    while (!pieces.empty()) {
        os::Transfer sent = pieces.size() == 1 && handles.empty() ? os::send_some(end_, pieces[0])
                                                                  : os::send_some(end_, pieces, handles);
        if (sent.closed)
            os::throw_system_error("send: the other end of the connection is closed",
                                   static_cast<int>(std::errc::broken_pipe));
        if (sent.count != 0) {
            state.begun = true;
            handles = {};  // gone with the first byte
        }
        while (!pieces.empty() && sent.count >= pieces[0].size()) {
            sent.count -= pieces[0].size();
            pieces = pieces.subspan(1);
        }
        if (pieces.empty()) break;
        pieces[0] = pieces[0].subspan(sent.count);
        if (block(sending_, os::writable, deadline)) continue;
        if (!state.begun) return false;
        throw TimeoutError(
            "only a part of the message was sent in time, so nothing can follow it: close this connection");
    }
    state.finished = true;
    return true;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
