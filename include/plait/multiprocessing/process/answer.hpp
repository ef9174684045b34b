// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/remote_exception.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <span>
#include <utility>
#include <vector>

// How what came of a call goes home from a process that was made for it alone: by the process's own channel, of any
// size, while the parent reads.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Before the encoding of the value, or of the exception.
struct AnswerHead {
    enum class Kind : std::uint32_t { value = 0x706C'6176, exception };  // "plav": no Farewell begins so

    Kind kind = Kind::value;
    std::uint32_t padding = 0;
    std::uint64_t size = 0;
};

/// In the child: runs `call`, which takes an Encoder for its result, sends what came of it, and returns the exit code.
///
/// As a pool's worker it leads a process group, so that what it starts ends with it, and has nothing to read.
template <class Call>
int answer_with(const os::Handle& control, Call&& call) {
    os::lead_process_group();
    os::end_when_asked();
    os::open_missing_standard_streams();
    os::read_nothing_from_standard_input();
    const std::int64_t self = os::process_id();
    Encoder result;
    std::exception_ptr exception;
    try {
        call(result);
    } catch (...) {
        exception = std::current_exception();
    }
    // A call that forked: its copy came back here too, and has nothing to say.
    if (os::process_id() != self) os::exit_immediately(0);
    os::flush_standard_streams();  // what it printed is there when its result is
    try {
        if (exception != nullptr) {
            result.clear();
            write_exception(result, exception);
        }
        // It may have closed the channel, and its number be that of a file or socket of the user's.
        if (!this_process().has_control()) return 1;
        const AnswerHead head{.kind = exception != nullptr ? AnswerHead::Kind::exception : AnswerHead::Kind::value,
                              .size = result.size()};
        const bool sent =
            os::send_all(control, std::as_bytes(std::span{&head, 1})) && os::send_all(control, result.bytes());
        return sent ? 0 : 1;
    } catch (...) {
        return 1;  // it is not to be told, then: the parent sees an end without an answer
    }
}

/// In the parent: the answer as it comes.
class Answer {
public:
    /// Takes what is there now.
    void read(const os::Handle& control) {
        while (!closed_ && !is_complete() && !is_foreign()) {
            // Room for what was announced only as far as it comes: the announcement may be anything.
            constexpr std::size_t part = std::size_t{256} << 10;
            const std::size_t most = bytes_.size() < sizeof(AnswerHead)
                                         ? sizeof(AnswerHead) - bytes_.size()
                                         : static_cast<std::size_t>((std::min)(std::uint64_t{part}, left()));
            if (bytes_.capacity() - bytes_.size() < most) bytes_.reserve(2 * bytes_.size() + most);
            const std::size_t before = bytes_.size();
            bytes_.resize(before + most);
            const os::Transfer received = os::receive_some(control, std::span{bytes_}.subspan(before));
            bytes_.resize(before + received.count);
            closed_ = received.closed;
            if (received.count == 0) return;
        }
    }

    [[nodiscard]] bool is_complete() const noexcept { return has_head() && !is_foreign() && left() == 0; }
    /// The other end is gone: nothing more comes.
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }
    /// No answer begins so: the child refused with a Farewell, or the call wrote to the channel.
    [[nodiscard]] bool is_foreign() const noexcept {
        return has_head() && head().kind != AnswerHead::Kind::value && head().kind != AnswerHead::Kind::exception;
    }
    [[nodiscard]] std::span<const std::byte> begun() const noexcept { return bytes_; }

    /// Of one that is complete: the encoded value. Throws: what the call threw.
    [[nodiscard]] Decoder value() const {
        Decoder in(std::span{bytes_}.subspan(sizeof(AnswerHead)));
        if (head().kind == AnswerHead::Kind::exception) std::rethrow_exception(read_exception(in));
        return in;
    }

private:
    [[nodiscard]] bool has_head() const noexcept { return bytes_.size() >= sizeof(AnswerHead); }
    [[nodiscard]] AnswerHead head() const noexcept {
        AnswerHead head;
        std::memcpy(&head, bytes_.data(), sizeof head);
        return head;
    }
    [[nodiscard]] std::uint64_t left() const noexcept { return head().size - (bytes_.size() - sizeof(AnswerHead)); }

    std::vector<std::byte> bytes_;
    bool closed_ = false;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
