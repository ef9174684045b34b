// SPDX-License-Identifier: MIT
#include <plait/os/socket.hpp>

#include <plait/os/poller.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/loopback.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::os;
using namespace std::string_view_literals;
using Catch::Matchers::ContainsSubstring;
using support::TemporaryFolder;

namespace {

struct Listening {
    Handle socket;
    SocketAddress address;
};
Listening listen_on(const SocketAddress& at) {
    Handle socket = at.family() == SocketFamily::local ? bind_local(at) : bind_stream(at, false);
    plait::os::listen(socket, 8);
    const SocketAddress address = local_address(socket.get());
    return {std::move(socket), address};
}
void wait_for(const Handle& socket, short events) {
    PollItem item{socket.get(), events};
    REQUIRE(poll({&item, 1}, plait::detail::Deadline{20s}));
}
std::error_code code_of(auto&& call) {
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

}  // namespace

TEST_CASE("an address in numbers is read and written without a look-up") {
    const SocketAddress four = numeric_address("127.0.0.1", 80);
    CHECK(four.family() == SocketFamily::ipv4);
    CHECK(four.host() == "127.0.0.1");
    CHECK(four.port() == 80);
    CHECK(four.to_string() == "127.0.0.1:80");
    const SocketAddress six = numeric_address("2001:db8::1", 65535);
    CHECK(six.family() == SocketFamily::ipv6);
    CHECK(six.host() == "2001:db8::1");
    CHECK(six.to_string() == "[2001:db8::1]:65535");
    CHECK(numeric_address("fe80::1%lo", 1).host() == "fe80::1%lo");
    CHECK(numeric_address("fe80::1%4000000", 1).host() == "fe80::1%4000000");
    for (const char* const name : {"localhost", "", "example.org", "1.2.3.4.5", ":::"})
        CHECK(numeric_address(name, 1).family() == SocketFamily::none);
    CHECK(numeric_address(std::string{"127.0.0.1\0.org", 14}, 1).family() == SocketFamily::none);
}

TEST_CASE("addresses are equal that name the same place") {
    CHECK(numeric_address("127.0.0.1", 1) == loopback_address(SocketFamily::ipv4, 1));
    CHECK(numeric_address("::1", 1) == loopback_address(SocketFamily::ipv6, 1));
    CHECK(numeric_address("::", 1) == any_address(SocketFamily::ipv6, 1));
    CHECK(numeric_address("0.0.0.0", 1) == any_address(SocketFamily::ipv4, 1));
    CHECK_FALSE(numeric_address("127.0.0.1", 1) == numeric_address("127.0.0.1", 2));
    CHECK_FALSE(numeric_address("127.0.0.1", 1) == numeric_address("127.0.0.2", 1));
    CHECK_FALSE(numeric_address("::1", 1) == numeric_address("::2", 1));
    CHECK_FALSE(numeric_address("fe80::1%1", 1) == numeric_address("fe80::1%2", 1));
    CHECK_FALSE(numeric_address("::1", 1) == numeric_address("127.0.0.1", 1));
    CHECK(SocketAddress::local("/a") == SocketAddress::local("/a"));
    CHECK_FALSE(SocketAddress::local("/a") == SocketAddress::local("/b"));
    CHECK(SocketAddress{} == SocketAddress{});
}

TEST_CASE("a local address is a path or an abstract name, and nothing else") {
    CHECK(SocketAddress::local("/run/x").path() == "/run/x");
    CHECK(SocketAddress::local("/run/x").to_string() == "/run/x");
    CHECK(SocketAddress::local("\0x"sv).path() == "\0x"sv);
    CHECK(SocketAddress::local("\0x"sv).to_string() == "@x");
    CHECK(SocketAddress::local("/run/x").host().empty());
    CHECK_THROWS_AS(SocketAddress::local(""), std::invalid_argument);
    CHECK_THROWS_AS(SocketAddress::local("\0"sv), std::invalid_argument);
    CHECK_THROWS_AS(SocketAddress::local("/a\0b"sv), std::invalid_argument);
    CHECK(SocketAddress::local(std::string(107, 'x')).path().size() == 107);
    CHECK(code_of([] { SocketAddress::local(std::string(108, 'x')); }) == std::errc::filename_too_long);
}

TEST_CASE("a name that does not resolve is an error that names it") {
    try {
        resolve("no-such-host.invalid", 80);
        FAIL("it resolved");
    } catch (const std::system_error& error) {
        CHECK(&error.code().category() == &resolver_category());
        CHECK_THAT(error.what(), ContainsSubstring("no-such-host.invalid"));
    }
    CHECK_FALSE(resolve("localhost", 7).empty());
    CHECK(resolve("localhost", 7).front().port() == 7);
}

TEST_CASE("sockets do not block and are not inherited") {
    const Listening server = listen_on(loopback_address(SocketFamily::ipv4, 0));
    const Handle client = stream_socket(SocketFamily::ipv4);
    CHECK(accept(server.socket).what == Accepting::none);
    static_cast<void>(plait::os::connect(client, server.address));
    wait_for(server.socket, readable);
    const Accepted accepted = accept(server.socket);
    REQUIRE(accepted.what == Accepting::accepted);
    for (const Handle* const socket : {&server.socket, &client, &accepted.connection}) {
        CHECK((::fcntl(socket->get(), F_GETFL) & O_NONBLOCK) != 0);
        CHECK((::fcntl(socket->get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
    wait_for(client, writable);
    CHECK(pending_error(client) == 0);
    CHECK(peer_address(client.get()) == server.address);
    CHECK(local_address(client.get()) == peer_address(accepted.connection.get()));
    int set = 0;
    socklen_t size = sizeof set;
    send_at_once(client);
    ::getsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &set, &size);
    CHECK(set != 0);
}

TEST_CASE("a refused connection is told at once or in the background") {
    const SocketAddress nobody = listen_on(loopback_address(SocketFamily::ipv4, 0)).address;
    const Handle client = stream_socket(SocketFamily::ipv4);
    std::error_code code = code_of([&] {
        if (plait::os::connect(client, nobody) != Connecting::under_way) return;
        wait_for(client, writable);
        throw_system_error("connect", pending_error(client));
    });
    CHECK(code == std::errc::connection_refused);
    CHECK(peer_address(client.get()) == SocketAddress{});
    const TemporaryFolder directory;
    const Handle local = stream_socket(SocketFamily::local);
    CHECK(code_of([&] { plait::os::connect(local, SocketAddress::local(directory.file("none"))); }) ==
          std::errc::no_such_file_or_directory);
}

TEST_CASE("a listener says why it has no connection to give") {
    const Listening server = listen_on(loopback_address(SocketFamily::ipv4, 0));
    const Handle client = stream_socket(SocketFamily::ipv4);
    static_cast<void>(plait::os::connect(client, server.address));
    wait_for(server.socket, readable);
    {
        const support::DescriptorLimit none{0};
        const Accepted refused = accept(server.socket);
        CHECK(refused.what == Accepting::exhausted);
        CHECK(refused.error == EMFILE);
    }
    CHECK(accept(server.socket).what == Accepting::accepted);
    CHECK(accept(client).what == Accepting::failed);
}

TEST_CASE("a local server whose queue is full is told from one that is not there") {
    const TemporaryFolder directory;
    const SocketAddress address = SocketAddress::local(directory.file("full"));
    const Handle server = bind_local(address);
    plait::os::listen(server, 0);
    std::vector<Handle> clients;
    for (Connecting last = Connecting::done; last == Connecting::done;) {
        REQUIRE(clients.size() < 100);
        clients.push_back(stream_socket(SocketFamily::local));
        last = plait::os::connect(clients.back(), address);
        CHECK((last == Connecting::done || last == Connecting::queue_full));
    }
    CHECK(accept(server).what == Accepting::accepted);
    CHECK(plait::os::connect(clients.back(), address) == Connecting::done);
}

TEST_CASE("a bound name that is taken is an error that tells it") {
    const Listening server = listen_on(loopback_address(SocketFamily::ipv4, 0));
    try {
        bind_stream(server.address, false);
        FAIL("it was bound twice");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::address_in_use);
        CHECK_THAT(error.what(), ContainsSubstring(server.address.to_string()));
    }
    const Handle one = bind_stream(loopback_address(SocketFamily::ipv4, 0), true);
    CHECK_NOTHROW(bind_stream(local_address(one.get()), true));
}

TEST_CASE("a socket's file is replaced where nobody listens, and left where somebody does") {
    const TemporaryFolder directory;
    const std::string path = directory.file("socket");
    const SocketAddress address = SocketAddress::local(path);
    {
        const Handle gone = bind_local(address);
        plait::os::listen(gone, 1);
    }
    CHECK(std::filesystem::exists(path));
    const Listening server = listen_on(address);
    CHECK(server.address.path() == path);
    CHECK(code_of([&] { bind_local(address); }) == std::errc::address_in_use);
    const std::string file = directory.file("file");
    std::fclose(std::fopen(file.c_str(), "w"));
    CHECK(code_of([&] { bind_local(SocketAddress::local(file)); }) == std::errc::address_in_use);
    CHECK(std::filesystem::is_regular_file(file));
}

TEST_CASE("a socket's file is removed by its owner alone") {
    const TemporaryFolder directory;
    const std::string path = directory.file("socket");
    const Handle first = bind_local(SocketAddress::local(path));
    LocalName first_name{path};
    std::filesystem::remove(path);
    const Handle second = bind_local(SocketAddress::local(path));
    LocalName second_name{path};
    first_name.remove();
    CHECK(std::filesystem::exists(path));
    second_name.remove();
    CHECK_FALSE(std::filesystem::exists(path));
    LocalName{}.remove();
    LocalName{std::string{"\0x", 2}}.remove();
}

TEST_CASE("datagrams go whole, up to the longest there is") {
    const Handle one = datagram_socket(SocketFamily::ipv4);
    const Handle two = datagram_socket(SocketFamily::ipv4);
    plait::os::bind(one, loopback_address(SocketFamily::ipv4, 0));
    plait::os::bind(two, loopback_address(SocketFamily::ipv4, 0));
    std::string data;
    std::vector<char> room(64 * 1024);
    SocketAddress sender;
    CHECK_FALSE(receive_datagram(two, room, data, sender));
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{65507}}) {
        const std::string sent(length, 'x');
        REQUIRE(send_datagram(one, bytes_of(sent), local_address(two.get())));
        wait_for(two, readable);
        REQUIRE(receive_datagram(two, room, data, sender));
        CHECK(data == sent);
        CHECK(sender == local_address(one.get()));
    }
    CHECK(code_of([&] { send_datagram(one, bytes_of(std::string(65508, 'x')), local_address(two.get())); }) ==
          std::errc::message_size);
    CHECK_THROWS_AS(send_datagram(one, bytes_of("x"), SocketAddress{}), std::system_error);
    CHECK_NOTHROW(allow_broadcast(one));
}
