// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/connection/body.hpp>
#include <plait/os/handle.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

/// What two ends of a connection say to each other: messages, each behind a header, in one stream of bytes.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Before each message; the name of its type, if that travels, and then `size` bytes follow.
struct MessageHeader {
    enum class Kind : std::uint8_t {
        bytes = 1,  ///< of `send_bytes`
        value = 2,  ///< encoded
    };

    // From the lowest bits: the size in 40, the number of handles in 8, the name's length in 8, the kind in 8.
    std::uint64_t word = 0;
    std::uint64_t type = 0;  ///< a value's: the hash of its name

    static constexpr std::uint64_t most_bytes = (std::uint64_t{1} << 40) - 1;
    static constexpr std::size_t name_unit = 16;  ///< in which the name's length is counted, padded with zeros
    static constexpr std::size_t longest_name = 15 * name_unit;

    static constexpr MessageHeader of(Kind kind, std::uint64_t size, std::size_t handles, std::size_t name_units,
                                      std::uint64_t type) noexcept {
        return {size | std::uint64_t{handles} << 40 | std::uint64_t{name_units} << 48 |
                    std::uint64_t{static_cast<std::uint8_t>(kind)} << 56,
                type};
    }
    [[nodiscard]] constexpr std::uint64_t size() const noexcept { return word & most_bytes; }
    [[nodiscard]] constexpr std::size_t handles() const noexcept { return (word >> 40) & 0xFF; }
    [[nodiscard]] constexpr std::size_t name_size() const noexcept { return ((word >> 48) & 0xFF) * name_unit; }
    [[nodiscard]] constexpr Kind kind() const noexcept { return static_cast<Kind>(word >> 56); }
};
static_assert(sizeof(MessageHeader) == 16);

/// A message that was received.
struct Message {
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {in_place ? place.data() : block.data(), static_cast<std::size_t>(header.size())};
    }

    /// The bytes, to keep.
    [[nodiscard]] std::vector<std::byte> take_block() && {
        if (in_place) return {place.begin(), place.begin() + static_cast<std::ptrdiff_t>(header.size())};
        return std::move(block);
    }

    MessageHeader header;
    std::size_t missing_handles = 0;  ///< announced, and not come
    std::vector<os::Handle> handles;
    std::unique_ptr<MessageBody> body;  ///< for a large value whose receiver knew what it is: instead of the bytes
    std::vector<std::byte> block;
    bool in_place = false;
    alignas(16) std::array<std::byte, 512> place;  // not filled with zeros
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
