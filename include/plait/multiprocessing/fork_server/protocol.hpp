// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/os/surroundings.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

// What a program and its fork server say to one another.
//
// The program sends a `ServerOrder` with handles, the server answers with one `ServerReport`, and that is all the server
// reads: it forks at once. What the child is to be and to run lies in a piece of shared memory that only the child looks at. The
// child waits on its own channel for one byte, `go`, which the program sends when it has the report: a start that the
// program gave up, because the server hung or died, runs nothing, so that it can be made again elsewhere.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// From the program to the server.
struct ServerOrder {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'6F72;  // "plait or"
    enum class Kind : std::uint32_t {
        start,  ///< a child; along come its job, its channel, the one for news of it, the working directory, and the rest
        guard,   ///< a daemon that the server did not make: along comes a watch for it
        retire,  ///< no more orders will come; there is no answer
    };
    std::uint64_t magic = magic_word;
    Kind kind = Kind::start;
    std::uint32_t daemon = 0;
    std::uint64_t number = 0;  ///< the report on it bears the same
};

/// What comes along with an order to start, in this order; then the standard streams that there are, then the luggage.
enum class Along : std::size_t { job, control, news, directory, count };

/// From the server to the program.
struct ServerReport {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'7265;  // "plait re"
    enum class Kind : std::uint32_t {
        none,
        ready,  ///< the server, once: its pid, and a watch for it, where the system has any
        made,   ///< a child: the same of that
        done,
        failed,  ///< `code` is the error number
    };
    std::uint64_t magic = magic_word;
    Kind kind = Kind::none;
    std::int32_t code = 0;
    std::int64_t pid = 0;
    std::uint64_t number = 0;  ///< the order's; of `ready` none
};

/// What a job begins with; the call follows.
struct StartRequest {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'7371;  // "plait sq"

    ChildPapers papers;
    std::uint32_t streams = 0;  ///< bit n: the standard stream n comes along
    os::Surroundings surroundings{};
    std::string environment;

    void encode(Encoder& out) const {
        out.write(magic_word, papers, streams, environment);
        out.write_bytes(std::as_bytes(std::span{&surroundings, 1}));
    }
    /// Throws: CodecError for bytes that no program of this build wrote.
    static StartRequest decode(Decoder& in) {
        static_assert(std::is_trivially_copyable_v<os::Surroundings>);
        if (in.read<std::uint64_t>() != magic_word) throw CodecError("its job is no request for a child");
        StartRequest request;
        request.papers = in.read<ChildPapers>();
        request.streams = in.read<std::uint32_t>();
        request.environment = in.read<std::string>();
        const auto bytes = in.read_bytes(sizeof request.surroundings);
        std::memcpy(&request.surroundings, bytes.data(), bytes.size());
        return request;
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
