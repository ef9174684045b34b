// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/byte_buffer.hpp>
#include <plait/core/config.hpp>
#include <plait/os/byte_stream.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <system_error>

namespace plait::inline PLAIT_ABI::asyncio::detail {

enum class StreamKind : std::uint8_t { socket, reading_pipe, writing_pipe };

/// The incoming half of a connection: what was received and not yet read, and how it ended.
///
/// Bytes are received when they are asked for, never before: what nobody reads stays with the kernel, whose own limit makes
/// the peer wait. What was received before an end or an error can still be read.
class ByteSource {
public:
    explicit ByteSource(StreamKind kind) noexcept : kind_{kind} {}

    [[nodiscard]] ByteBuffer& received() noexcept { return received_; }
    [[nodiscard]] const ByteBuffer& received() const noexcept { return received_; }
    /// Whether nothing more will come.
    [[nodiscard]] bool ended() const noexcept { return at_end_ || error_ != 0; }
    [[nodiscard]] bool at_end() const noexcept { return at_end_; }
    /// 0 for none.
    [[nodiscard]] int error() const noexcept { return error_; }
    void throw_if_failed() const {
        if (error_ != 0) os::throw_system_error(kind_ == StreamKind::socket ? "recv" : "read", error_);
    }

    /// Puts more in `received`, or finds the end; not to be asked after that. False where nothing has come, or it is the
    /// others' turn: then it is asked again after `on_ready`. `scratch` is memory for the time of the call.
    [[nodiscard]] bool receive(os::NativeHandle handle, std::span<char> scratch) noexcept {
        std::size_t count = 0;
        return receive_into(handle, {}, count, scratch);
    }
    /// The same into `room`, as far as that goes, where nothing is in `received`; tells how much that is.
    [[nodiscard]] bool receive_into(os::NativeHandle handle, std::span<char> room, std::size_t& count,
                                    std::span<char> scratch) noexcept;
    /// The system says that there is something to receive.
    void on_ready() noexcept {
        try_at_once_ = true;
        receives_in_a_row_ = 0;
    }
    /// After what is in `received`.
    void put(std::string_view bytes) noexcept;
    void end() noexcept { at_end_ = true; }
    void fail(int error) noexcept {
        at_end_ = false;
        error_ = error;
    }

private:
    static constexpr unsigned most_receives_in_a_row = 8;  // then other tasks have their turn

    // False where nothing has come.
    bool note(os::Flow flow, std::size_t asked) noexcept;

    StreamKind kind_;
    bool at_end_ = false;
    bool try_at_once_ = true;  // false: the system had no more when it was last asked
    unsigned receives_in_a_row_ = 0;
    int error_ = 0;
    ByteBuffer received_;
};

inline bool ByteSource::receive_into(os::NativeHandle handle, std::span<char> room, std::size_t& count,
                                     std::span<char> scratch) noexcept {
    if (!try_at_once_) return false;
    // Small rooms by way of the scratch memory, for one that has been filled does not tell whether there is more to come.
    const bool at_once = room.size() >= scratch.size();
    const std::span<char> place = at_once ? room : scratch;
    const os::Flow flow =
        kind_ == StreamKind::socket ? os::receive_bytes(handle, place) : os::read_bytes(handle, place);
    if (!note(flow, place.size())) return false;
    if (at_once) {
        count = flow.count;
    } else {
        const std::string_view bytes{scratch.data(), flow.count};
        count = bytes.copy(room.data(), room.size());
        put(bytes.substr(count));
    }
    return true;
}

inline bool ByteSource::note(os::Flow flow, std::size_t asked) noexcept {
    if (flow.would_block) {
        try_at_once_ = false;
        return false;
    }
    if (flow.error != 0)
        fail(flow.error);
    else if (flow.count == 0)
        at_end_ = true;
    else if (flow.count < asked || ++receives_in_a_row_ == most_receives_in_a_row)
        try_at_once_ = false;
    return true;
}

inline void ByteSource::put(std::string_view bytes) noexcept {
    try {
        if (!bytes.empty()) received_.append(bytes);
    } catch (...) {
        fail(static_cast<int>(std::errc::not_enough_memory));  // they are lost: nothing may follow them
    }
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
