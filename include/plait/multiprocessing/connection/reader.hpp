// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/connection/body.hpp>
#include <plait/multiprocessing/connection/message.hpp>
#include <plait/os/handle.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Makes messages of bytes as they come, in pieces of any size; it knows no descriptor.
///
///     while (!reader.next(message)) {
///         std::span<std::byte> room = reader.room();
///         reader.came(receive(room, handles), std::move(handles));
///     }
///
/// The bytes may come from anywhere: nothing is allocated for what a header announces, only for what has come, and a
/// stream that is no row of messages, or has one above the limit, is an error for ever.
class MessageReader {
public:
    static constexpr std::uint64_t default_limit = std::uint64_t{1} << 30;
    /// As much is read ahead, and a longer message has memory of its own.
    static constexpr std::size_t capacity = std::size_t{64} << 10;

    /// Whether `next` would give a message, or throw.
    [[nodiscard]] bool ready();
    /// Gives the next message if it is whole. Throws: CodecError for a stream that is no row of messages.
    bool next(Message& message);

    /// Where the bytes that come next go, at least one; only after `next` gave nothing.
    std::span<std::byte> room(const BodyMaker& maker = {});
    /// Whose memory a message is being received into will not wait for the rest of it.
    void keep_body() noexcept;
    /// That `count` bytes stand there now, and that `handles` came along with one of them.
    void came(std::size_t count, std::vector<os::Handle> handles = {});
    /// The two together: takes as many of `bytes` as it has room for, and returns how many.
    std::size_t feed(std::span<const std::byte> bytes, std::vector<os::Handle> handles = {});

    /// Whether a message has begun that is not whole.
    [[nodiscard]] bool in_message() const noexcept { return body_ != nullptr || end_ > begin_; }
    /// The longest message that is taken.
    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
    void set_limit(std::uint64_t limit) noexcept {
        limit_ = (std::min)({limit, MessageHeader::most_bytes, std::uint64_t{PTRDIFF_MAX}});
    }
    /// From now on nothing is read beyond the next message.
    void stop_reading_ahead() noexcept { reads_ahead_ = false; }
    /// What the sender calls the type of that hash, if it said.
    [[nodiscard]] std::string_view name_of(std::uint64_t type) const noexcept;

    /// What was read and not given out, so that another reader, fed with it, goes on from here: pieces of bytes, and
    /// what came along with each. `visit(bytes, handles)`.
    template <class Visit>
    void visit_rest(Visit visit) const;

private:
    struct Name {
        std::uint64_t type;
        std::string text;
    };
    // Some handles, that came with a byte from `begin` on and before `end`, counted from the stream's first.
    struct Group {
        std::uint64_t begin;
        std::uint64_t end;
        std::vector<os::Handle> handles;
    };

    [[nodiscard]] std::size_t buffered() const noexcept { return end_ - begin_; }
    /// Looks at the header at `begin_`, if it is there.
    void look();
    /// Keeps what the message that begins at `begin_` says of its type.
    void learn_name();
    /// Takes out of groups_ what came with the message that begins at `begin`.
    void claim_handles(std::uint64_t begin);
    void finish(Message& message);

    std::unique_ptr<std::byte[]>
        buffer_;  // the stream's newest bytes, from begin_ to end_; a message's first at begin_
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t position_ = 0;  // how many bytes have come
    bool reads_ahead_ = true;
    bool last_was_large_ = false;
    std::uint64_t limit_ = default_limit;
    std::string broken_;  // why there are no more messages

    MessageHeader header_;  // of the message that comes now, once `known_`
    bool known_ = false;
    std::vector<os::Handle> handles_;    // its handles
    std::unique_ptr<MessageBody> body_;  // of a large one whose name, if any, has come
    std::size_t filled_ = 0;             // how much of the body has come

    std::vector<Group> groups_;
    std::vector<Name> names_;
};

inline void MessageReader::look() {
    if (known_ || !broken_.empty() || buffered() < sizeof header_) return;
    std::memcpy(&header_, buffer_.get() + begin_, sizeof header_);
    const auto kind = header_.kind();
    if ((kind != MessageHeader::Kind::bytes && kind != MessageHeader::Kind::value) ||
        header_.name_size() > MessageHeader::longest_name) {
        broken_ = "cannot receive: what came is no message";
    } else if (header_.size() > limit_) {
        broken_ = "cannot receive a message of " + std::to_string(header_.size()) + " bytes: max_message_size is " +
                  std::to_string(limit_);
    } else {
        known_ = true;
        claim_handles(position_ - buffered());
    }
}

inline bool MessageReader::ready() {
    look();
    if (!broken_.empty()) return true;
    if (!known_) return false;
    if (body_ != nullptr) return filled_ == header_.size();
    return buffered() - sizeof header_ >= header_.name_size() + header_.size();
}

inline bool MessageReader::next(Message& message) {
    if (!ready()) return false;
    if (!broken_.empty()) throw CodecError(broken_);
    finish(message);
    return true;
}

inline void MessageReader::finish(Message& message) {
    const auto size = static_cast<std::size_t>(header_.size());
    last_was_large_ = body_ != nullptr;
    message.body.reset();
    message.in_place = false;
    if (body_ == nullptr) {
        learn_name();
        const std::byte* const bytes = buffer_.get() + begin_ + sizeof header_ + header_.name_size();
        message.in_place = size <= message.place.size();
        if (!message.in_place)
            message.block.assign(bytes, bytes + size);
        else
            std::memcpy(message.place.data(), bytes, size);
        begin_ += sizeof header_ + header_.name_size() + size;
    } else if (body_->tag() == nullptr) {
        message.block = static_cast<BytesBody&>(*body_).take(size);
        body_.reset();
    } else {
        message.body = std::move(body_);
    }
    message.header = header_;
    message.missing_handles = header_.handles() - handles_.size();
    message.handles = std::exchange(handles_, {});
    filled_ = 0;
    known_ = false;
}

inline std::span<std::byte> MessageReader::room(const BodyMaker& maker) {
    look();
    if (buffer_ == nullptr) buffer_ = std::make_unique_for_overwrite<std::byte[]>(capacity);
    const std::size_t before = sizeof header_ + (known_ ? header_.name_size() : 0);  // the message's own bytes
    const std::uint64_t whole = before + (known_ ? header_.size() : 0);
    if (known_ && body_ == nullptr && whole > capacity && buffered() >= before) {
        learn_name();
        auto body = maker.make != nullptr ? maker.make(header_, maker.memory) : nullptr;
        if (body == nullptr) body = std::make_unique<BytesBody>();
        const std::size_t here = buffered() - before;
        std::size_t filled = 0;
        while (filled < here) {
            const auto into = body->room(filled, static_cast<std::size_t>(header_.size()));
            const std::size_t count = (std::min)(into.size(), here - filled);
            std::memcpy(into.data(), buffer_.get() + begin_ + before + filled, count);
            filled += count;
        }
        body_ = std::move(body);
        filled_ = filled;
        begin_ = end_ = 0;
    }
    if (body_ != nullptr) {
        const auto into = body_->room(filled_, static_cast<std::size_t>(header_.size()));
        return into.first((std::min)(into.size(), static_cast<std::size_t>(header_.size()) - filled_));
    }
    // What is left is less than one message: little, as a rule.
    if (begin_ != 0) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, buffered());
        end_ = buffered();
        begin_ = 0;
    }
    std::size_t most = capacity - end_;
    if (!reads_ahead_)
        most = static_cast<std::size_t>((std::min)(whole, std::uint64_t{capacity})) - end_;
    else if (last_was_large_)
        // After a large message another one is likely, whose bytes had better go to their own place at once.
        most = (std::min)(most, std::size_t{4096});
    return {buffer_.get() + end_, most};
}

inline void MessageReader::came(std::size_t count, std::vector<os::Handle> handles) {
    const std::uint64_t begin = std::exchange(position_, position_ + count);
    if (body_ != nullptr) {
        filled_ += count;
        return;  // handles that come in the midst of a message belong to none, here and below, and are closed
    }
    const std::uint64_t missing = known_ ? sizeof header_ + header_.name_size() + header_.size() - buffered() : 0;
    end_ += count;
    if (!handles.empty() && count > missing) groups_.push_back({begin, position_, std::move(handles)});
}

inline void MessageReader::keep_body() noexcept {
    if (body_ == nullptr || !body_->is_borrowed()) return;
    try {
        body_ = std::make_unique<BytesBody>(body_->copy(filled_));
    } catch (...) {
        broken_ = "out of memory";  // short enough to need none
        body_.reset();
    }
}

inline std::size_t MessageReader::feed(std::span<const std::byte> bytes, std::vector<os::Handle> handles) {
    const auto into = room();
    const std::size_t count = (std::min)(into.size(), bytes.size());
    if (count == 0) return 0;
    std::memcpy(into.data(), bytes.data(), count);
    came(count, std::move(handles));
    return count;
}

inline void MessageReader::claim_handles(std::uint64_t begin) {
    const auto stale =
        std::find_if(groups_.begin(), groups_.end(), [=](const Group& each) { return each.end > begin; });
    groups_.erase(groups_.begin(), stale);
    handles_.clear();
    if (header_.handles() == 0 || groups_.empty() || groups_.front().begin > begin) return;
    if (groups_.front().handles.size() <= header_.handles()) handles_ = std::move(groups_.front().handles);
    groups_.erase(groups_.begin());
}

inline void MessageReader::learn_name() {
    constexpr std::size_t most_names = 64;
    if (header_.name_size() == 0 || names_.size() == most_names || !name_of(header_.type).empty()) return;
    std::string text(reinterpret_cast<const char*>(buffer_.get() + begin_ + sizeof header_), header_.name_size());
    text.resize((std::min)(text.size(), text.find('\0')));
    // It will stand in a text for people.
    for (char& c : text)
        if (c < ' ' || c > '~') c = '?';
    names_.push_back({header_.type, std::move(text)});
}

inline std::string_view MessageReader::name_of(std::uint64_t type) const noexcept {
    for (const Name& name : names_)
        if (name.type == type) return name.text;
    return {};
}

template <class Visit>
void MessageReader::visit_rest(Visit visit) const {
    constexpr std::span<const os::Handle> none;
    if (body_ != nullptr) {
        // Its name has been learned: the header goes without it.
        const auto header = MessageHeader::of(header_.kind(), header_.size(), header_.handles(), 0, header_.type);
        visit(std::as_bytes(std::span{&header, 1}), std::span{handles_});
        visit(std::span<const std::byte>{body_->copy(filled_)}, none);
        return;
    }
    std::span<const std::byte> bytes{buffer_.get() + begin_, buffered()};
    if (known_) {
        visit(bytes.first(1), std::span{handles_});
        bytes = bytes.subspan(1);
    }
    for (const Group& group : groups_) {
        const std::uint64_t here = position_ - bytes.size();
        if (group.end <= here) continue;
        const auto count = static_cast<std::size_t>(group.end - here);
        visit(bytes.first(count), std::span{group.handles});
        bytes = bytes.subspan(count);
    }
    visit(bytes, none);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
