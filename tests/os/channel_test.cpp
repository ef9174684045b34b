// SPDX-License-Identifier: MIT
#include <plait/os/channel.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::os;
using plait::detail::Deadline;

namespace {

std::vector<std::byte> pattern(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

}  // namespace

TEST_CASE("a channel carries bytes both ways, and is inherited by nobody") {
    const ChannelEnds channel = make_channel();
    for (const Handle* const end : {&channel.first, &channel.second})
        CHECK((::fcntl(end->get(), F_GETFD) & FD_CLOEXEC) != 0);
    std::byte buffer[4];
    CHECK(receive_some(channel.first, buffer).count == 0);
    CHECK_FALSE(receive_some(channel.first, buffer).closed);
    CHECK(send_some(channel.first, pattern(3)).count == 3);
    CHECK(receive_some(channel.second, buffer).count == 3);
    CHECK(buffer[2] == pattern(3)[2]);
    CHECK(send_all(channel.second, pattern(4)));
    CHECK(receive_all(channel.first, buffer));
}

TEST_CASE("send_some and receive_some never block") {
    const ChannelEnds channel = make_channel();
    const auto bytes = pattern(std::size_t{4} << 20);
    const Transfer sent = send_some(channel.first, bytes);
    CHECK(sent.count > 0);
    CHECK(sent.count < bytes.size());
    const Transfer more = send_some(channel.first, bytes);
    CHECK(more.count + sent.count < bytes.size());
    CHECK_FALSE(more.closed);
}

TEST_CASE("send_all and receive_all carry more than fits at once") {
    const ChannelEnds channel = make_channel();
    const auto bytes = pattern(std::size_t{8} << 20);
    bool sent = false;
    std::thread sender{[&] { sent = send_all(channel.first, bytes); }};
    std::vector<std::byte> received(bytes.size());
    CHECK(receive_all(channel.second, received));
    sender.join();
    CHECK(sent);
    CHECK((received == bytes));
}

TEST_CASE("a deadline ends send_all and receive_all") {
    const ChannelEnds channel = make_channel();
    std::byte buffer[4];
    CHECK_FALSE(receive_all(channel.first, buffer, Deadline{1ms}));
    CHECK(send_all(channel.second, pattern(2)));
    CHECK_FALSE(receive_all(channel.first, buffer, Deadline{1ms}));
    CHECK_FALSE(send_all(channel.first, pattern(std::size_t{8} << 20), Deadline{1ms}));
}

TEST_CASE("the end of the other end is told, after what it sent, and raises no SIGPIPE") {
    struct ::sigaction by_default{};
    struct ::sigaction before{};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &by_default, &before);
    ChannelEnds channel = make_channel();
    CHECK(send_all(channel.second, pattern(2)));
    channel.second.reset();
    std::byte buffer[4];
    CHECK(receive_some(channel.first, buffer).count == 2);
    CHECK(receive_some(channel.first, buffer).closed);
    CHECK_FALSE(receive_all(channel.first, buffer));
    CHECK(send_some(channel.first, pattern(1)).closed);
    CHECK_FALSE(send_all(channel.first, pattern(1)));
    CHECK_FALSE(send_with_handles(channel.first, pattern(1), {}));
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("a message brings handles along, that are inherited by nobody") {
    const ChannelEnds channel = make_channel();
    Handle null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    const NativeHandle sent[] = {null.get(), channel.first.get()};
    CHECK(send_with_handles(channel.first, pattern(5), sent));
    std::byte buffer[5];
    std::vector<Handle> handles;
    CHECK(receive_with_handles(channel.second, buffer, handles));
    CHECK(buffer[4] == pattern(5)[4]);
    REQUIRE(handles.size() == 2);
    CHECK(handles[0].get() != null.get());
    for (const Handle& handle : handles) CHECK((::fcntl(handle.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(send_all(handles[1], pattern(1)));
    CHECK(receive_all(channel.second, std::span{buffer}.first(1)));
}

TEST_CASE("a message with handles that is too short, late or from nobody is refused") {
    ChannelEnds channel = make_channel();
    std::byte buffer[5];
    std::vector<Handle> handles;
    CHECK_FALSE(receive_with_handles(channel.second, buffer, handles, Deadline{1ms}));
    const NativeHandle sent[] = {channel.first.get()};
    CHECK(send_with_handles(channel.first, pattern(3), sent));
    CHECK_FALSE(receive_with_handles(channel.second, buffer, handles));
    handles.clear();
    channel.first.reset();
    CHECK_FALSE(receive_with_handles(channel.second, buffer, handles));
    CHECK(handles.empty());
}

TEST_CASE("pieces go one after the other without a wait, and handles with their first byte") {
    ChannelEnds channel = make_channel();
    const auto bytes = pattern(100);
    const std::span<const std::byte> pieces[] = {std::span{bytes}.first(60), {}, std::span{bytes}.subspan(60)};
    const NativeHandle sent[] = {channel.first.get()};
    std::byte buffer[200];
    std::vector<Handle> handles;
    CHECK(receive_some(channel.second, buffer, handles).count == 0);
    CHECK(send_some(channel.first, pattern(1)).count == 1);
    CHECK(send_some(channel.first, pieces, sent).count == 100);
    CHECK(send_some(channel.first, pattern(1)).count == 1);
    // What came before may come along, what came after does not.
    std::size_t received = 0;
    while (handles.empty())
        received += receive_some(channel.second, std::span{buffer}.subspan(received), handles).count;
    CHECK(received <= 101);
    CHECK(handles.size() == 1);
    while (received < 102) received += receive_some(channel.second, std::span{buffer}.subspan(received), handles).count;
    CHECK(buffer[100] == bytes[99]);
    CHECK(handles.size() == 1);
    handles.clear();
    channel.first.reset();
    CHECK(receive_some(channel.second, buffer, handles).closed);
    CHECK(send_some(channel.second, pieces, {}).closed);
}

TEST_CASE("who stops sending can be sent to, and the other end reads the end") {
    const ChannelEnds channel = make_channel();
    CHECK(send_some(channel.first, pattern(1)).count == 1);
    stop_sending(channel.first);
    std::byte buffer[4];
    CHECK(receive_some(channel.second, buffer).count == 1);
    CHECK(receive_some(channel.second, buffer).closed);
    CHECK(send_all(channel.second, pattern(2)));
    CHECK(receive_some(channel.first, buffer).count == 2);
}

TEST_CASE("the maker of a channel is known to both ends") {
    const ChannelEnds channel = make_channel();
    CHECK(peer_is(channel.first, ::getpid()));
    CHECK(peer_is(channel.second, ::getpid()));
    CHECK_FALSE(peer_is(channel.second, ::getppid()));
    const Handle null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    CHECK_FALSE(peer_is(null, ::getpid()));
    CHECK_FALSE(peer_is(Handle{}, ::getpid()));
    const pid_t child = ::fork();
    if (child == 0) ::_exit(peer_is(channel.second, ::getppid()) && !peer_is(channel.second, ::getpid()) ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
}

TEST_CASE("a channel that cannot be had is an error that names the call, and leaves nothing open") {
    const auto open = support::open_descriptors();
    for (unsigned more = 0; more < 2; ++more) {
        const auto error = support::caught<std::system_error>([&] {
            const support::DescriptorLimit limit{more};
            make_channel();
        });
        REQUIRE(error);
        CHECK(error->code().value() == EMFILE);
        CHECK_THAT(error->what(), Catch::Matchers::ContainsSubstring("socketpair"));
    }
    CHECK((support::open_descriptors() == open));
}
