// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pipe.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <system_error>
#include <type_traits>
#include <utility>

namespace mp = plait::multiprocessing;
using mp::Connection;
using mp::Pipe;
using mp::PipeEnds;

TEST_CASE("a pipe has two ends that talk to each other, and lets go of both") {
    const auto open = support::open_descriptors();
    {
        auto [left, right] = Pipe();
        left.send(1);
        right.send(2);
        CHECK(right.recv<int>() == 1);
        CHECK(left.recv<int>() == 2);
        auto [reader, writer] = mp::Pipe(false);
        writer.send(3);
        CHECK(reader.recv<int>() == 3);
        PipeEnds ends = Pipe();
        ends = Pipe();
        ends.first.send(4);
        CHECK(ends.second.recv<int>() == 4);
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("a connection moves, and is not copied") {
    static_assert(std::is_nothrow_move_constructible_v<Connection> && std::is_nothrow_move_assignable_v<Connection>);
    static_assert(!std::is_copy_constructible_v<Connection> && !std::is_copy_assignable_v<Connection>);
    static_assert(mp::detail::carries_handles<Connection>() && mp::detail::carries_handles<PipeEnds>());
    static_assert(mp::Encodable<PipeEnds> && mp::Decodable<PipeEnds>);
    auto [left, right] = Pipe();
    left.send(Pipe());
    auto [a, b] = right.recv<PipeEnds>();
    a.send(1);
    CHECK(b.recv<int>() == 1);
}

TEST_CASE("a pipe has no name that another could open it by") {
    auto [left, right] = Pipe();
    for (const Connection* const end : {&left, &right}) {
        sockaddr_un name{};
        socklen_t size = sizeof name;
        const int handle = mp::detail::ConnectionAccess::endpoint(*end).native();
        REQUIRE(::getsockname(handle, reinterpret_cast<sockaddr*>(&name), &size) == 0);
        CHECK(size == sizeof name.sun_family);
    }
}

TEST_CASE("a pipe that cannot be had is an error, and leaves nothing open") {
    const auto open = support::open_descriptors();
    const auto error = support::caught<std::system_error>([] {
        const support::DescriptorLimit limit{1};
        static_cast<void>(Pipe());
    });
    REQUIRE(error);
    CHECK(error->code() == std::errc::too_many_files_open);
    CHECK((support::open_descriptors() == open));
}
