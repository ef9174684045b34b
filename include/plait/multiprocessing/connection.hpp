// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/codec/type_name.hpp>
#include <plait/multiprocessing/connection/body.hpp>
#include <plait/multiprocessing/connection/endpoint.hpp>
#include <plait/multiprocessing/connection/message.hpp>
#include <plait/multiprocessing/connection/reader.hpp>
#include <plait/multiprocessing/connection/value_body.hpp>
#include <plait/os/handle.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {
struct ConnectionAccess;
}

/// The message is longer than the memory given to `recv_bytes_into`; it is here.
///
/// Python: multiprocessing.BufferTooShort.
class PLAIT_VISIBLE BufferTooShort : public Error {
public:
    BufferTooShort(const std::string& text, std::vector<std::byte> message)
        : Error{text}, message_{std::make_shared<std::vector<std::byte>>(std::move(message))} {}

    /// All of it.
    const std::vector<std::byte>& message() const noexcept { return *message_; }

private:
    std::shared_ptr<const std::vector<std::byte>> message_;  // copying an exception must not throw
};

/// One end of a `Pipe`: sends values to the process, or thread, that has the other end, and receives what comes from
/// there; a message arrives whole or not at all.
///
/// Python: multiprocessing.connection.Connection. For many senders and receivers use a Queue, for one large block of
/// memory that both change a SharedMemory.
///
///     auto [left, right] = Pipe();
///     Process child([](Connection end) { end.send(end.recv<int>() + 1); }, std::move(right));
///     child.start();
///     left.send(6);
///     int seven = left.recv<int>();
///
/// A value is received as the type it was sent as (a text literal or string_view as std::string, a span as std::vector),
/// bytes as bytes. A connection travels too, as an argument of a Process or by `send(std::move(connection))`.
/// Two ends that both send and do not receive wait for each other: 80 to 200 KiB, by the size of the messages, and at most some
/// 270 messages are under way.
///
/// Threads: any; one at a time sends and one receives, the others wait for their turn.
/// Fork: a copy of the program has a copy of each open end; one of the copies of an end sends, and one receives. The
/// stream ends when the last is closed: close in the copy, and here, what only the other of the two uses. Where a thread
/// was receiving (or sending) at the fork, the copy cannot: that is a UsageError there.
class Connection {
public:
    Connection(Connection&&) noexcept = default;
    Connection& operator=(Connection&&) noexcept = default;
    ~Connection() = default;

    /// Sends `value`, and waits while the other end has not made room for it.
    ///
    /// Throws: CodecError where it is longer than `max_message_size` or cannot be encoded; UsageError where this end is
    /// closed (meanwhile, too) or cannot send; std::system_error (std::errc::broken_pipe) where the other end is gone.
    template <class T>
    void send(T&& value) {
        static_cast<void>(send_value(std::forward<T>(value), plait::detail::Deadline::never()));
    }
    /// The same, but false where nothing of it could be sent within `timeout`. Throws: TimeoutError where a part of it
    /// was; nothing can follow it then.
    template <class T>
    [[nodiscard]] bool send(T&& value, Timeout timeout) {
        return send_value(std::forward<T>(value), plait::detail::Deadline{timeout});
    }

    /// Receives the next message, which must be a `T`, and waits for it.
    ///
    /// Throws: EndOfStream where the other end is closed and all was read, or its process died in the middle of a
    /// message; CodecError for a message of another type, or no `T`: the next one can be received; UsageError where this
    /// end is closed (meanwhile, too) or cannot receive. The message is lost, too, where making the `T` fails otherwise,
    /// for want of memory (std::bad_alloc) or of descriptors (std::system_error).
    template <class T>
    [[nodiscard]] T recv() {
        return receive_value<T>(plait::detail::Deadline::never());
    }
    /// The same. Throws: TimeoutError where the message is not whole within `timeout`; it can still be received.
    template <class T>
    [[nodiscard]] T recv(Timeout timeout) {
        return receive_value<T>(plait::detail::Deadline{timeout});
    }

    /// Whether there is a whole message, or the end, so that a `recv` does not wait.
    [[nodiscard]] bool poll(Timeout timeout = std::chrono::seconds{0}) const {
        return endpoint(receiving).poll(plait::detail::Deadline{timeout});
    }

    /// Bytes as they are, none too; the same errors as of `send` and `recv`.
    void send_bytes(std::span<const std::byte> bytes) {
        static_cast<void>(send_block(bytes, plait::detail::Deadline::never()));
    }
    [[nodiscard]] bool send_bytes(std::span<const std::byte> bytes, Timeout timeout) {
        return send_block(bytes, plait::detail::Deadline{timeout});
    }
    [[nodiscard]] std::vector<std::byte> recv_bytes() { return receive_block(plait::detail::Deadline::never()); }
    [[nodiscard]] std::vector<std::byte> recv_bytes(Timeout timeout) {
        return receive_block(plait::detail::Deadline{timeout});
    }
    /// Returns how many of `buffer`'s bytes the message fills. Throws: BufferTooShort, which has the message.
    std::size_t recv_bytes_into(std::span<std::byte> buffer, Timeout timeout = Timeout::never());

    /// Closes this end; any number of times. Who waits in it in another thread gets a UsageError.
    void close() noexcept {
        if (endpoint_ != nullptr) endpoint_->close();
    }
    [[nodiscard]] bool closed() const noexcept { return endpoint_ == nullptr || endpoint_->closed(); }
    [[nodiscard]] bool readable() const noexcept { return endpoint_ != nullptr && endpoint_->directions().receives; }
    [[nodiscard]] bool writable() const noexcept { return endpoint_ != nullptr && endpoint_->directions().sends; }

    /// The longest message that is sent or taken, in bytes: 1 GiB unless set. A longer one that comes ends the stream.
    [[nodiscard]] std::uint64_t max_message_size() const { return endpoint().limit(); }
    void max_message_size(std::uint64_t bytes) { endpoint().set_limit(bytes); }

    /// For a `poll` or `epoll` of your own: readable when bytes are there, of a message that may not be whole.
    ///
    /// Python: fileno. Several small messages are received at once; from this call on they are not, so that each is seen
    /// there. What was received before is told by `poll()`.
    [[nodiscard]] os::NativeHandle native_handle() { return endpoint().give_native(); }

private:
    friend detail::ConnectionAccess;
    enum Direction { sending, receiving };

    explicit Connection(std::unique_ptr<detail::Endpoint> endpoint) noexcept : endpoint_{std::move(endpoint)} {}

    [[nodiscard]] detail::Endpoint& endpoint() const {
        if (endpoint_ == nullptr)
            throw UsageError("this Connection was moved from or sent away: use the object that it was moved to");
        return *endpoint_;
    }
    [[nodiscard]] detail::Endpoint& endpoint(Direction direction) const {
        detail::Endpoint& end = endpoint();
        if (direction == sending && !end.directions().sends)
            throw UsageError("this end of Pipe(false) only receives: send on the second one");
        if (direction == receiving && !end.directions().receives)
            throw UsageError("this end of Pipe(false) only sends: receive from the first one");
        return end;
    }

    template <class T>
    bool send_value(T&& value, plait::detail::Deadline deadline);
    template <class T, class Value>
    bool send_as(const Value& value, plait::detail::Deadline deadline);
    bool send_block(std::span<const std::byte> bytes, plait::detail::Deadline deadline) {
        return endpoint(sending).send({.pieces = {bytes, {}}}, deadline);
    }
    template <class T>
    T receive_value(plait::detail::Deadline deadline);
    void receive(detail::Message& message, const detail::BodyMaker& maker, plait::detail::Deadline deadline);
    void receive_bytes(detail::Message& message, const detail::BodyMaker& maker, plait::detail::Deadline deadline);
    std::vector<std::byte> receive_block(plait::detail::Deadline deadline);
    [[noreturn]] void throw_other_type(std::string_view wanted, const detail::Message& message);

    std::unique_ptr<detail::Endpoint> endpoint_;
};

template <class T>
bool Connection::send_value(T&& value, plait::detail::Deadline deadline) {
    using Value = std::remove_cvref_t<T>;
    if constexpr (std::is_convertible_v<const Value&, const char*>) {
        return send_as<std::string>(std::string_view{value}, deadline);
    } else {
        static_assert(
            !std::is_lvalue_reference_v<T> || !detail::carries_handles<Value>() || std::is_copy_constructible_v<Value>,
            "plait: a Connection moves: send(std::move(connection)), which leaves none here");
        if (!send_as<detail::ReceivedAs<Value>>(value, deadline)) return false;
        // A connection has gone to the other process: what is left of it here would keep its stream from ending.
        if constexpr (detail::carries_handles<Value>() && !std::is_lvalue_reference_v<T> && !std::is_const_v<T>)
            static_cast<void>(Value(std::move(value)));
        return true;
    }
}

template <class T, class Value>
bool Connection::send_as(const Value& value, plait::detail::Deadline deadline) {
    detail::Letter letter{.kind = detail::MessageHeader::Kind::value,
                          .type = detail::hash_of_type<T>,
                          .type_name = detail::type_name<T>()};
    if constexpr (!Encodable<Value>) {
        detail::explain<Value, detail::Way::encode>();
        return false;
    } else if constexpr (detail::Bitwise<Value>) {
        letter.pieces[0] = std::as_bytes(std::span{std::addressof(value), 1});
        return endpoint(sending).send(letter, deadline);
    } else if constexpr (detail::Block<Value>) {
        // Not copied: the system takes it from where it is.
        const std::uint64_t count = value.size();
        letter.pieces = {std::as_bytes(std::span{&count, 1}), std::as_bytes(std::span{value.data(), value.size()})};
        return endpoint(sending).send(letter, deadline);
    } else {
        detail::Endpoint& end = endpoint(sending);
        detail::Outgoing outgoing;
        Encoder out;
        if constexpr (detail::carries_handles<Value>()) out.carry(outgoing);
        out.write(value);
        letter.pieces[0] = out.bytes();
        letter.handles = outgoing.handles();
        return end.send(letter, deadline);
    }
}

inline void Connection::receive(detail::Message& message, const detail::BodyMaker& maker,
                                plait::detail::Deadline deadline) {
    if (!endpoint(receiving).receive(message, maker, deadline))
        throw TimeoutError("no whole message was received in time; what has come is kept");
}

template <class T>
T Connection::receive_value(plait::detail::Deadline deadline) {
    if constexpr (!Decodable<T>) {
        detail::explain<T, detail::Way::decode>();
        detail::decode_error<T>("it has no codec");  // not reached: the line above does not compile
    } else {
        detail::Message message;
        receive(message, detail::value_body_maker<T>(), deadline);
        if (message.header.kind() != detail::MessageHeader::Kind::value ||
            message.header.type != detail::hash_of_type<T>)
            throw_other_type(detail::type_name<T>(), message);
        if (message.missing_handles != 0)
            detail::decode_error<T>("of " + std::to_string(message.header.handles()) +
                                    " handles that belong to it this process had no room for, or did not get, " +
                                    std::to_string(message.missing_handles));
        if (message.body != nullptr) return detail::take_value<T>(*message.body, message.header);
        const detail::Incoming incoming{std::move(message.handles)};
        Decoder in{message.bytes()};
        in.carry(incoming);
        T value = in.read<T>();
        if (in.remaining() != 0) detail::decode_error<T>(std::to_string(in.remaining()) + " bytes too many");
        return value;
    }
}

inline void Connection::throw_other_type(std::string_view wanted, const detail::Message& message) {
    std::string text = "cannot receive ";
    text.append(wanted).append(": the message is ");
    if (message.header.kind() == detail::MessageHeader::Kind::bytes) {
        text.append("of send_bytes: receive it with recv_bytes");
    } else {
        std::string name;
        if (!closed())
            endpoint().use_reader([&](detail::MessageReader& reader) { name = reader.name_of(message.header.type); });
        text.append(name.empty() ? "of another type" : name);
    }
    throw CodecError(text);
}

inline void Connection::receive_bytes(detail::Message& message, const detail::BodyMaker& maker,
                                      plait::detail::Deadline deadline) {
    receive(message, maker, deadline);
    if (message.header.kind() != detail::MessageHeader::Kind::bytes) throw_other_type("bytes", message);
}

inline std::vector<std::byte> Connection::receive_block(plait::detail::Deadline deadline) {
    detail::Message message;
    receive_bytes(message, {}, deadline);
    return std::move(message).take_block();
}

inline std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, Timeout timeout) {
    const auto borrow = [](const detail::MessageHeader& header,
                           std::span<std::byte> memory) -> std::unique_ptr<detail::MessageBody> {
        const bool fits = header.kind() == detail::MessageHeader::Kind::bytes && header.size() <= memory.size();
        return fits ? std::make_unique<detail::BorrowedBody>(memory) : nullptr;
    };
    detail::Message message;
    receive_bytes(message, {borrow, buffer}, plait::detail::Deadline{timeout});
    const auto size = static_cast<std::size_t>(message.header.size());
    if (message.body != nullptr) return size;  // it was received where it belongs
    const auto bytes = message.bytes();
    if (size > buffer.size())
        throw BufferTooShort("a message of " + std::to_string(size) + " bytes for a buffer of " +
                                 std::to_string(buffer.size()) + ": take it from this exception",
                             std::move(message).take_block());
    std::copy(bytes.begin(), bytes.end(), buffer.begin());
    return size;
}

namespace detail {

/// What the library, and nobody else, may do with a Connection.
struct ConnectionAccess {
    static Connection make(os::Handle end, Directions directions) {
        return Connection{std::make_unique<Endpoint>(std::move(end), directions)};
    }
    static Endpoint& endpoint(const Connection& connection) { return connection.endpoint(); }
};

}  // namespace detail

/// An open end goes, with what it has received and not given out; only then is the one here closed.
template <>
struct Codec<Connection> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder& out, const Connection& connection);
    static Connection decode(Decoder& in);
};

inline void Codec<Connection>::encode(Encoder& out, const Connection& connection) {
    detail::Endpoint& end = detail::ConnectionAccess::endpoint(connection);
    end.use_reader([&](detail::MessageReader& reader) {
        if (end.cut_off()) throw UsageError("a message was cut off on this connection: it cannot be sent away");
        detail::put_handle(out, end.native());
        out.write(end.directions().receives, end.directions().sends, end.limit());
        reader.visit_rest([&](std::span<const std::byte> bytes, std::span<const os::Handle> handles) {
            if (bytes.empty()) return;
            out.write(true, bytes, std::uint8_t(handles.size()));
            for (const os::Handle& handle : handles) detail::put_handle(out, handle.get());
        });
        out.write(false);
    });
}

inline Connection Codec<Connection>::decode(Decoder& in) {
    os::Handle handle = detail::get_handle(in);
    const auto receives = in.read<bool>();
    const auto sends = in.read<bool>();
    Connection connection = detail::ConnectionAccess::make(std::move(handle), {receives, sends});
    detail::Endpoint& end = detail::ConnectionAccess::endpoint(connection);
    end.set_limit(in.read<std::uint64_t>());
    end.use_reader([&](detail::MessageReader& reader) {
        reader.set_limit(end.limit());
        while (in.read<bool>()) {
            const auto bytes = in.read_bytes(detail::Wire::get_count<Connection>(in, 1));
            std::vector<os::Handle> handles(in.read<std::uint8_t>());
            for (os::Handle& each : handles) each = detail::get_handle(in);
            for (std::size_t fed = 0; fed < bytes.size();) {
                const std::size_t more = reader.feed(bytes.subspan(fed), std::exchange(handles, {}));
                if (more == 0) detail::decode_error<Connection>("more was received than a connection keeps");
                fed += more;
            }
        }
    });
    return connection;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
