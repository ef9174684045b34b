// SPDX-License-Identifier: MIT
#include "fuzz.hpp"

#include <plait/multiprocessing/connection/reader.hpp>
#include <plait/multiprocessing/connection/value_body.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

// The stream of a connection, read in pieces of two sizes: the messages are the same, or the stream is broken in the same
// place. Nothing is allocated for what is only announced.

namespace mp = plait::multiprocessing;
namespace detail = plait::multiprocessing::detail;

namespace {

struct Seen {
    std::vector<std::pair<detail::MessageHeader, std::vector<std::byte>>> messages;
    bool broken = false;
};

Seen read_in_pieces(std::span<const std::byte> stream, std::size_t piece, const detail::BodyMaker& maker) {
    Seen seen;
    detail::MessageReader reader;
    detail::Message message;
    for (;;) {
        bool whole = false;
        if (!support::accepts([&] { whole = reader.next(message); })) {
            seen.broken = true;
            // For ever.
            support::require(!support::accepts([&] { reader.next(message); }));
            return seen;
        }
        if (whole) {
            std::vector<std::byte> bytes;
            if (message.body != nullptr) {
                bytes = message.body->copy(static_cast<std::size_t>(message.header.size()));
            } else {
                bytes.assign(message.bytes().begin(), message.bytes().end());
            }
            support::require(bytes.size() == message.header.size());
            seen.messages.emplace_back(message.header, std::move(bytes));
            continue;
        }
        if (stream.empty()) return seen;
        const auto room = reader.room(maker);
        support::require(!room.empty());
        const auto part = support::next(stream, (std::min)(piece, room.size()));
        std::memcpy(room.data(), part.data(), part.size());
        reader.came(part.size());
    }
}

/// Short instructions for long streams, in which many messages are whole.
std::vector<std::byte> written(std::span<const std::byte> bytes) {
    std::vector<std::byte> stream;
    while (!bytes.empty()) {
        const unsigned choice = support::choose(bytes, 16);
        if (choice == 0) {
            const auto raw = support::next(bytes, 24);
            stream.insert(stream.end(), raw.begin(), raw.end());
            continue;
        }
        const std::size_t names = support::choose(bytes, 18) % 17;
        const std::size_t size = choice < 12 ? std::size_t{choice} * 7 : std::size_t{choice} * 9001;
        const auto kind = choice % 2 == 0 ? detail::MessageHeader::Kind::value : detail::MessageHeader::Kind::bytes;
        const std::uint64_t type = choice % 4 == 0 ? detail::hash_of_type<std::vector<int>> : choice;
        const auto header = detail::MessageHeader::of(kind, size, 0, names, type);
        const auto head = std::as_bytes(std::span{&header, 1});
        stream.insert(stream.end(), head.begin(), head.end());
        stream.resize(stream.size() + names * detail::MessageHeader::name_unit + size, static_cast<std::byte>(choice));
        if (stream.size() > (std::size_t{1} << 18)) break;
    }
    return stream;
}

}  // namespace

void fuzz(std::span<const std::byte> bytes) {
    const std::size_t piece = 1 + support::choose(bytes, 64) * std::size_t{37};
    const bool as_vectors = support::choose(bytes, 2) == 1;
    std::vector<std::byte> stream(bytes.begin(), bytes.end());
    if (support::choose(bytes, 2) == 1) stream = written(bytes);
    const Seen whole = read_in_pieces(stream, stream.size() + 1, {});
    const Seen pieces =
        read_in_pieces(stream, piece, as_vectors ? detail::value_body_maker<std::vector<int>>() : detail::BodyMaker{});
    support::require(whole.broken == pieces.broken && whole.messages.size() == pieces.messages.size());
    for (std::size_t i = 0; i < whole.messages.size(); ++i)
        support::require(whole.messages[i].first.word == pieces.messages[i].first.word &&
                         whole.messages[i].second == pieces.messages[i].second);
}
