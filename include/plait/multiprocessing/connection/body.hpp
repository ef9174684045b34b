// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

struct MessageHeader;

/// Where a large message's bytes go while they come; it grows with them, whatever the header announced.
class MessageBody {
public:
    /// The first room of any: addresses, for what has not been written is no memory yet.
    static constexpr std::size_t first_capacity = std::size_t{32} << 20;
    /// In which steps it is written, so that what comes finds it in the processor's cache still.
    static constexpr std::size_t step = std::size_t{128} << 10;

    MessageBody() = default;
    MessageBody(const MessageBody&) = delete;
    MessageBody& operator=(const MessageBody&) = delete;
    virtual ~MessageBody() = default;

    /// Room behind the `used` first bytes of `total`: some, and maybe more than is wanted.
    virtual std::span<std::byte> room(std::size_t used, std::size_t total) = 0;
    /// A copy of the `used` first bytes.
    [[nodiscard]] virtual std::vector<std::byte> copy(std::size_t used) const = 0;
    /// Of which class it is: the address of something that only that one has; null for the usual one.
    [[nodiscard]] virtual const void* tag() const noexcept = 0;
    /// Whether it is memory of somebody who waits only for a while.
    [[nodiscard]] virtual bool is_borrowed() const noexcept { return false; }

protected:
    /// Makes `block` hold `elements` and some more, of `most` in the end.
    template <class Block>
    static void grow(Block& block, std::size_t elements, std::size_t most) {
        constexpr std::size_t size = sizeof(*block.data());
        const std::size_t capacity = block.capacity();
        if (capacity < most && (capacity <= elements || capacity < first_capacity / size))
            block.reserve((std::min)(most, (std::max)(first_capacity / size, 2 * elements)));
        const std::size_t wanted = (std::min)(most, elements + step / size + 1);
        if (wanted > block.size()) block.resize((std::min)(wanted, (std::max)(block.capacity(), elements + 1)));
    }
};

/// The body of whatever no other is known for.
class BytesBody final : public MessageBody {
public:
    BytesBody() = default;
    explicit BytesBody(std::vector<std::byte> bytes) noexcept : bytes_{std::move(bytes)} {}

    std::span<std::byte> room(std::size_t used, std::size_t total) override {
        grow(bytes_, used, total);
        return std::span{bytes_}.subspan(used);
    }
    [[nodiscard]] std::vector<std::byte> copy(std::size_t used) const override {
        return {bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(used)};
    }
    [[nodiscard]] const void* tag() const noexcept override { return nullptr; }
    std::vector<std::byte> take(std::size_t size) {
        bytes_.resize(size);
        return std::move(bytes_);
    }

private:
    std::vector<std::byte> bytes_;
};

/// The body of bytes that the receiver has memory for.
class BorrowedBody final : public MessageBody {
public:
    static constexpr char tag_of_this = 0;

    explicit BorrowedBody(std::span<std::byte> memory) noexcept : memory_{memory} {}

    std::span<std::byte> room(std::size_t used, std::size_t) override { return memory_.subspan(used); }
    [[nodiscard]] std::vector<std::byte> copy(std::size_t used) const override {
        return {memory_.begin(), memory_.begin() + static_cast<std::ptrdiff_t>(used)};
    }
    [[nodiscard]] const void* tag() const noexcept override { return &tag_of_this; }
    [[nodiscard]] bool is_borrowed() const noexcept override { return true; }

private:
    std::span<std::byte> memory_;
};

/// Makes the body of a large message that begins, or none for the usual one.
struct BodyMaker {
    std::unique_ptr<MessageBody> (*make)(const MessageHeader& header, std::span<std::byte> memory) = nullptr;
    std::span<std::byte> memory = {};
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
