// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/handle.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

// Handles of the operating system that travel beside the bytes: how a lock, a queue or a connection crosses.
//
// The bytes hold a handle's place in the list of those that go along; the channel takes the list. Where nothing could
// take it, encoding such a value is a CodecError; `carries_handles` (shape.hpp) says it at compile time.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// The handles that the written values want to have sent along: duplicates, for what was written may be gone, and its
/// number another's, before the message is sent.
class Outgoing {
public:
    [[nodiscard]] std::span<const os::NativeHandle> handles() const noexcept { return natives_; }
    /// Gives them away.
    [[nodiscard]] std::vector<os::Handle> take() && noexcept { return std::move(owned_); }

    /// The place of `handle`; what is there already travels once. Throws: CodecError for too many; std::system_error.
    std::uint32_t place_of(os::NativeHandle handle) {
        for (std::size_t i = 0; i < sources_.size(); ++i)
            // A number alone may be that of another object by now.
            if (sources_[i] == handle && os::identity_of(handle) == os::identity_of(natives_[i]))
                return static_cast<std::uint32_t>(i);
        if (owned_.size() == os::most_handles)
            throw CodecError("cannot encode more than " + std::to_string(os::most_handles) +
                             " locks, queues, connections and their like in one message: send it in parts");
        os::Handle copy = os::duplicate(handle);
        sources_.reserve(owned_.size() + 1);
        natives_.reserve(owned_.size() + 1);
        owned_.push_back(std::move(copy));
        natives_.push_back(owned_.back().get());
        sources_.push_back(handle);
        return static_cast<std::uint32_t>(owned_.size() - 1);
    }

private:
    std::vector<os::Handle> owned_;
    std::vector<os::NativeHandle> natives_;  // of owned_
    std::vector<os::NativeHandle> sources_;  // what each was made of
};

/// The handles that came along; those that nobody takes are closed.
class Incoming {
public:
    Incoming() = default;
    explicit Incoming(std::vector<os::Handle> handles) noexcept : handles_{std::move(handles)} {}

    [[nodiscard]] std::vector<os::NativeHandle> natives() const {
        std::vector<os::NativeHandle> natives;
        for (const os::Handle& handle : handles_) natives.push_back(handle.get());
        return natives;
    }

    [[nodiscard]] os::Handle get(std::uint32_t place) const {
        if (place >= handles_.size())
            throw CodecError("cannot decode a handle: number " + std::to_string(place) + " of " +
                             std::to_string(handles_.size()) + " that came along");
        return os::duplicate(handles_[place]);
    }

    /// Once all is decoded: what was decoded has handles of its own, and a channel has no end while one is open here.
    void close() const noexcept { handles_.clear(); }

private:
    mutable std::vector<os::Handle> handles_;
};

/// Has `handle` sent along.
inline void put_handle(Encoder& out, os::NativeHandle handle) {
    Outgoing* const outgoing = Wire::handles(out);
    if (outgoing == nullptr)
        throw CodecError(
            "cannot encode a lock, queue, connection or its like as mere bytes: it goes to a process at its start, as "
            "an argument, or through a Connection");
    Wire::put_bits(out, outgoing->place_of(handle));
}

/// What `put_handle` sent: a handle of its own for who asks.
[[nodiscard]] inline os::Handle get_handle(Decoder& in) {
    const auto place = Wire::get_bits<std::uint32_t>(in);
    const Incoming* const incoming = Wire::handles(in);
    if (incoming == nullptr) throw CodecError("cannot decode a handle: these bytes came without any");
    return incoming->get(place);
}

/// After the last value: closes what came along.
inline void close_handles(Decoder& in) noexcept {
    if (const Incoming* const incoming = Wire::handles(in)) incoming->close();
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
