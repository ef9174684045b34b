// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>
#include <plait/multiprocessing/codec/shape.hpp>
#include <plait/multiprocessing/codec/type_name.hpp>
#include <plait/multiprocessing/connection/body.hpp>
#include <plait/multiprocessing/connection/message.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// Large values that are received straight into what the user gets.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Encoded as the number of its elements and these in one block: a vector of numbers, a string, a span.
template <class T>
concept Block = BitwiseRange<T> && (shape<T> == Shape::sequence || shape<T> == Shape::borrowed);

/// What a value is received as: a view as what owns what it shows.
template <class T>
struct ReceivedAsType {
    using Type = T;
};
template <Borrowed T>
struct ReceivedAsType<T> {
    using Type = std::vector<std::remove_cv_t<typename T::value_type>>;
};
template <StringView T>
struct ReceivedAsType<T> {
    using Type = std::basic_string<typename T::value_type, typename T::traits_type>;
};
template <class T>
using ReceivedAs = typename ReceivedAsType<T>::Type;

template <class T>
inline constexpr std::uint64_t hash_of_type = hash_of(type_name<T>());

/// A block that can be made longer while it comes.
template <class T>
concept GrowingBlock =
    Block<T> && std::is_default_constructible_v<typename T::value_type> && requires(T& value, std::size_t size) {
        value.resize(size);
        value.reserve(size);
        value.capacity();
        *value.data() = typename T::value_type();
    };

/// The body of a large `T`.
template <GrowingBlock T>
class ValueBody final : public MessageBody {
public:
    static constexpr std::size_t element_size = sizeof(typename T::value_type);
    static constexpr char tag_of_this = 0;

    std::span<std::byte> room(std::size_t used, std::size_t total) override {
        if (used < sizeof count_) return std::as_writable_bytes(std::span{&count_, 1}).subspan(used);
        used -= sizeof count_;
        grow(value_, used / element_size, (total - sizeof count_) / element_size);
        return std::as_writable_bytes(std::span{value_.data(), value_.size()}).subspan(used);
    }
    [[nodiscard]] std::vector<std::byte> copy(std::size_t used) const override {
        std::vector<std::byte> bytes(used);
        const std::size_t head = (std::min)(used, sizeof count_);
        std::memcpy(bytes.data(), &count_, head);
        if (used > head) std::memcpy(bytes.data() + head, value_.data(), used - head);
        return bytes;
    }
    [[nodiscard]] const void* tag() const noexcept override { return &tag_of_this; }

    T take() {
        if (count_ != value_.size()) decode_error<T>("its size is not that of the message");
        return std::move(value_);
    }

private:
    std::uint64_t count_ = 0;
    T value_;
};

/// What makes the body of a large `T`, where it is received in another way than others.
template <class T>
constexpr BodyMaker value_body_maker() {
    if constexpr (GrowingBlock<T>) {
        return {[](const MessageHeader& header, std::span<std::byte>) -> std::unique_ptr<MessageBody> {
            const bool fits = header.kind() == MessageHeader::Kind::value && header.type == hash_of_type<T> &&
                              header.size() >= sizeof(std::uint64_t) &&
                              (header.size() - sizeof(std::uint64_t)) % ValueBody<T>::element_size == 0;
            return fits ? std::make_unique<ValueBody<T>>() : nullptr;
        }};
    } else {
        return {};
    }
}

/// The value of a body that was made for the `T` of this or another module.
template <class T>
T take_value(MessageBody& body, const MessageHeader& header) {
    if constexpr (GrowingBlock<T>)
        if (body.tag() == &ValueBody<T>::tag_of_this) return static_cast<ValueBody<T>&>(body).take();
    return decode<T>(body.copy(static_cast<std::size_t>(header.size())));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
