// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/datagram.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "support/catch.hpp"
#include "support/loopback.hpp"

#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>

using namespace std::chrono_literals;
using plait::EndOfStream;
using plait::UsageError;
using plait::asyncio::Address;
using plait::asyncio::Coroutine;
using plait::asyncio::create_datagram_endpoint;
using plait::asyncio::Datagram;
using plait::asyncio::DatagramEndpoint;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<DatagramEndpoint> on_loopback() { return create_datagram_endpoint({.local_host = "127.0.0.1"}); }
Coroutine<DatagramEndpoint> to(int port) {
    return create_datagram_endpoint({.remote_host = "127.0.0.1", .remote_port = port});
}

}  // namespace

TEST_CASE("datagrams go to whom they are addressed, and tell who sent them") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint one = co_await on_loopback();
        const DatagramEndpoint two = co_await on_loopback();
        CHECK(one.port() != 0);
        CHECK(one.local_address() == Address("127.0.0.1", one.port()));
        CHECK_FALSE(one.remote_address());
        co_await one.send("hello", Address("127.0.0.1", two.port()));
        const Datagram first = co_await two.receive();
        CHECK(first.data == "hello");
        CHECK(first.sender == one.local_address());
        co_await two.send("back", first.sender);
        auto [data, sender] = co_await one.receive();
        CHECK(data == "back");
        CHECK(sender == two.local_address());
    });
}

TEST_CASE("who receives and sends without end lets others run") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint endpoint = co_await on_loopback();
        const Address own = endpoint.local_address();
        co_await endpoint.send("ball", own);
        bool ended = false;
        auto other = aio::create_task([&]() -> Coroutine<void> {
            co_await aio::sleep(1ms);
            ended = true;
        });
        // It is never without a datagram.
        for (int i = 0; !ended && i < 1'000'000; ++i) {
            const Datagram ball = co_await endpoint.receive();
            co_await endpoint.send(ball.data, own);
        }
        CHECK(ended);
        co_await other;
    });
}

TEST_CASE("an endpoint with a remote speaks with that alone") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        const DatagramEndpoint client = co_await to(server.port());
        const DatagramEndpoint stranger = co_await on_loopback();
        CHECK(client.remote_address() == server.local_address());
        co_await stranger.send("from a stranger", Address("127.0.0.1", client.port()));
        co_await client.send("question");
        const Datagram question = co_await server.receive();
        co_await server.send(std::string("answer"), question.sender);
        const Datagram answer = co_await client.receive();
        CHECK(answer.data == "answer");
    });
}

TEST_CASE("datagrams are never cut or joined: empty, one byte, the longest; a longer one is an error") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        const DatagramEndpoint client = co_await to(server.port());
        for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{65507}}) {
            co_await client.send(std::string(length, 'x'));
            const Datagram datagram = co_await server.receive();
            CHECK(datagram.data == std::string(length, 'x'));
        }
        std::error_code code;
        try {
            co_await client.send(std::string(65508, 'x'));
        } catch (const std::system_error& error) {
            code = error.code();
        }
        CHECK(code == std::errc::message_size);
    });
}

TEST_CASE("a receive waits, and a cancelled one loses no datagram") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        const DatagramEndpoint client = co_await to(server.port());
        auto waiting = aio::create_task(server.receive());
        co_await settle();
        CHECK_FALSE(waiting.done());
        co_await client.send("1");
        const Datagram first = co_await waiting;
        CHECK(first.data == "1");
        auto cancelled = aio::create_task(server.receive());
        co_await settle();
        co_await client.send("2");
        cancelled.cancel();
        co_await settle();
        CHECK(cancelled.cancelled());
        const Datagram second = co_await server.receive();
        CHECK(second.data == "2");
    });
}

TEST_CASE("a receive that is cancelled in the pass in which its datagram came loses none") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        const DatagramEndpoint client = co_await to(server.port());
        auto receiving = aio::create_task(server.receive());
        co_await settle();
        co_await client.send("1");
        // Told of the datagram before the task that waits for it has its turn.
        co_await aio::wait_readable(support::native_socket_at(server.port()));
        receiving.cancel();
        std::string data;
        try {
            const Datagram received = co_await receiving;
            data = received.data;
        } catch (const plait::CancelledError&) {
        }
        if (data.empty()) {
            const Datagram left = co_await server.receive();
            data = left.data;
        }
        CHECK(data == "1");
    });
}

TEST_CASE("one task at a time receives") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        auto first = aio::create_task(server.receive());
        co_await settle();
        bool refused = false;
        try {
            static_cast<void>(co_await server.receive());
        } catch (const UsageError&) {
            refused = true;
        }
        CHECK(refused);
        first.cancel();
        co_await settle();
        auto next = aio::create_task(server.receive());
        co_await settle();
        CHECK_FALSE(next.done());
        next.cancel();
    });
}

TEST_CASE("close ends a receive that waits, and is final") {
    aio::run([]() -> Coroutine<void> {
        DatagramEndpoint server = co_await on_loopback();
        auto waiting = aio::create_task(server.receive());
        co_await settle();
        server.close();
        server.close();
        CHECK(server.is_closed());
        CHECK_FALSE(server.local_address());
        int ended = 0;
        for (int i = 0; i < 2; ++i) {
            try {
                if (i == 0) static_cast<void>(co_await waiting);
                static_cast<void>(co_await server.receive());
            } catch (const EndOfStream&) {
                ++ended;
            }
        }
        CHECK(ended == 2);
        bool refused = false;
        try {
            co_await server.send("x", Address("127.0.0.1", 1));
        } catch (const UsageError&) {
            refused = true;
        }
        CHECK(refused);
    });
}

TEST_CASE("a refusal is told to who receives, once, also where the next send meets it") {
    for (const bool waits_before : {true, false}) {
        aio::run([&]() -> Coroutine<void> {
            int port = 0;
            {
                const DatagramEndpoint gone = co_await on_loopback();
                port = gone.port();
            }
            const DatagramEndpoint client = co_await to(port);
            std::optional<aio::Task<Datagram>> receiving;
            if (waits_before) {
                receiving = aio::create_task(client.receive());
                co_await settle();
            }
            co_await client.send("refused");
            const DatagramEndpoint server =
                co_await create_datagram_endpoint({.local_host = "127.0.0.1", .local_port = port});
            co_await client.send("received");
            if (!receiving) receiving = aio::create_task(client.receive());
            std::error_code code;
            try {
                static_cast<void>(co_await *receiving);
            } catch (const std::system_error& error) {
                code = error.code();
            }
            CHECK(code == std::errc::connection_refused);
            const Datagram datagram = co_await server.receive();
            CHECK(datagram.data == "received");
            co_await server.send("answer", datagram.sender);
            const Datagram answer = co_await client.receive();
            CHECK(answer.data == "answer");
        });
    }
}

TEST_CASE("to send takes somebody to send to") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint endpoint = co_await create_datagram_endpoint();
        CHECK(endpoint.local_address().host() == "0.0.0.0");
        bool refused = false;
        try {
            co_await endpoint.send("x");
        } catch (const UsageError&) {
            refused = true;
        }
        CHECK(refused);
        CHECK_THROWS_AS(endpoint.send("x", Address()), UsageError);
        CHECK_THROWS_AS(create_datagram_endpoint({.local_port = 70000}), std::invalid_argument);
    });
}

TEST_CASE("a send waits while the system has no room, and many at once lose nothing") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await on_loopback();
        const DatagramEndpoint client = co_await to(server.port());
        std::multiset<std::string> received;
        for (int round = 0; round < 20; ++round) {
            auto sends = aio::gather(client.send("a"), client.send("b"), client.send("c"));
            co_await std::move(sends);
            for (int i = 0; i < 3; ++i) {
                const Datagram datagram = co_await server.receive();
                received.insert(datagram.data);
            }
        }
        CHECK(received.count("a") == 20);
        CHECK(received.count("b") == 20);
        CHECK(received.count("c") == 20);
    });
}

TEST_CASE("a port that another endpoint has is an error, unless both share it") {
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint one =
            co_await create_datagram_endpoint({.local_host = "127.0.0.1", .reuse_port = true, .allow_broadcast = true});
        const DatagramEndpoint two = co_await create_datagram_endpoint(
            {.local_host = "127.0.0.1", .local_port = one.port(), .reuse_port = true});
        CHECK(one.port() == two.port());
        std::error_code code;
        try {
            static_cast<void>(co_await create_datagram_endpoint({.local_host = "127.0.0.1", .local_port = one.port()}));
        } catch (const std::system_error& error) {
            code = error.code();
        }
        CHECK(code == std::errc::address_in_use);
    });
}

TEST_CASE("the families of the local and the remote host have to agree") {
    aio::run([]() -> Coroutine<void> {
        bool refused = false;
        try {
            static_cast<void>(
                co_await create_datagram_endpoint({.local_host = "127.0.0.1", .remote_host = "::1", .remote_port = 9}));
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        CHECK(refused);
    });
}

TEST_CASE("datagrams go over IPv6") {
    if (!support::has_ipv6()) return;
    aio::run([]() -> Coroutine<void> {
        const DatagramEndpoint server = co_await create_datagram_endpoint({.local_host = "::1"});
        const DatagramEndpoint client =
            co_await create_datagram_endpoint({.remote_host = "::1", .remote_port = server.port()});
        co_await client.send("six");
        const Datagram datagram = co_await server.receive();
        CHECK(datagram.data == "six");
        CHECK(datagram.sender == client.local_address());
    });
}

TEST_CASE("a handle of no endpoint says so") {
    const DatagramEndpoint none;
    CHECK_THROWS_AS(none.receive(), UsageError);
    CHECK_THROWS_AS(none.send("x"), UsageError);
    CHECK_THROWS_AS(none.port(), UsageError);
    CHECK_THROWS_AS(none.close(), UsageError);
}

TEST_CASE("an endpoint closes with its loop, and its handle may outlive it") {
    std::optional<DatagramEndpoint> kept;
    {
        aio::EventLoop loop;
        loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
        auto main = [&]() -> Coroutine<void> {
            kept = co_await on_loopback();
            static_cast<void>(co_await kept->receive());
        };
        auto task = loop.create_task(main);
        loop.run_until_complete(settle());
        CHECK_FALSE(kept->is_closed());
    }
    CHECK(kept->is_closed());
    kept->close();
}

TEST_CASE("an endpoint that outlives its loop is closed") {
    std::optional<DatagramEndpoint> endpoint;
    aio::run([&]() -> Coroutine<void> { endpoint = co_await on_loopback(); });
    aio::run([&]() -> Coroutine<void> {
        CHECK_THROWS_AS(co_await endpoint->send("x", Address("127.0.0.1", 9)), UsageError);
        CHECK_THROWS_AS(co_await endpoint->receive(), EndOfStream);
    });
}
