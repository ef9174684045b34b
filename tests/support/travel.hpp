// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/os/channel.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

// How what carries handles goes to another process, without a Process: by hand, through a channel.

namespace support {

/// Sends one value, handles and all; its encoding is short.
template <class T>
void send(const plait::os::Handle& channel, const T& value) {
    plait::multiprocessing::detail::Outgoing outgoing;
    plait::multiprocessing::Encoder out;
    out.carry(outgoing);
    out.write(value);
    std::array<std::byte, 256> message{};
    if (out.size() > message.size()) throw std::length_error("support::send");
    std::memcpy(message.data(), out.bytes().data(), out.size());
    if (!plait::os::send_with_handles(channel, message, outgoing.handles())) throw std::runtime_error("support::send");
}

/// Receives one; waits half a minute.
template <class T>
T receive(const plait::os::Handle& channel) {
    std::array<std::byte, 256> message{};
    std::vector<plait::os::Handle> handles;
    const plait::detail::Deadline deadline{std::chrono::seconds{30}};
    if (!plait::os::receive_with_handles(channel, message, handles, deadline))
        throw std::runtime_error("support::receive");
    const plait::multiprocessing::detail::Incoming incoming{std::move(handles)};
    plait::multiprocessing::Decoder in{message};
    in.carry(incoming);
    return in.read<T>();
}

/// What arrives in this process when this process sends `value`.
template <class T>
T arrived(const T& value) {
    auto [here, there] = plait::os::make_channel();
    send(here, value);
    return receive<T>(there);
}

}  // namespace support
