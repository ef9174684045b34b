// SPDX-License-Identifier: MIT
#include <plait/asyncio/context.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/open_connection.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/sleep.hpp>

#include "support/catch.hpp"
#include "support/loopback.hpp"

#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::Address;
using plait::asyncio::Coroutine;
using plait::asyncio::open_connection;
using plait::asyncio::Server;
using plait::asyncio::start_server;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<void> answer(StreamReader& reader, StreamWriter& writer) {
    const std::string line = co_await reader.readline();
    writer.write("you said " + line);
}
Coroutine<void> echo(StreamReader reader, StreamWriter writer) {
    for (;;) {
        const std::string data = co_await reader.read(4096);
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
    }
}
/// What a server answers to "x\n".
Coroutine<std::string> ask(int port, std::string host = "127.0.0.1") {
    auto [reader, writer] = co_await open_connection(host, port);
    writer.write("x\n");
    co_return co_await reader.readline();
}
Coroutine<std::error_code> failure_of(Coroutine<Server> starting) {
    try {
        static_cast<void>(co_await std::move(starting));
    } catch (const std::system_error& error) {
        co_return error.code();
    }
    co_return std::error_code{};
}
Coroutine<bool> is_refused(int port) {
    try {
        static_cast<void>(co_await open_connection("127.0.0.1", port));
    } catch (const std::system_error& error) {
        co_return error.code() == std::errc::connection_refused;
    }
    co_return false;
}

}  // namespace

TEST_CASE("a server tells where it is, and hands connections to its handler") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        CHECK(server.port() != 0);
        CHECK(server.is_serving());
        REQUIRE(server.addresses().size() == 1);
        CHECK(server.addresses()[0] == Address("127.0.0.1", server.port()));
        for (int i = 0; i < 3; ++i) {
            const std::string line = co_await ask(server.port());
            CHECK(line == "x\n");
        }
        server.close();
        CHECK_FALSE(server.is_serving());
        co_await server.wait_closed();
        CHECK(server.connections() == 0);
        CHECK(server.addresses().size() == 1);
    });
}

TEST_CASE("a handler takes both sides by value or by reference, and awaits or not") {
    aio::run([]() -> Coroutine<void> {
        const auto check = [](auto handler, std::string expected) -> Coroutine<void> {
            Server server = co_await start_server(std::move(handler), "127.0.0.1", 0);
            const std::string line = co_await ask(server.port());
            CHECK(line == expected);
        };
        co_await check(answer, "you said x\n");
        co_await check(&echo, "x\n");
        co_await check([](StreamReader, StreamWriter writer) { writer.write("plain\n"); }, "plain\n");
        co_await check([](StreamReader&, StreamWriter& writer) { writer.write("references\n"); }, "references\n");
        co_await check([](const StreamReader&, const StreamWriter& writer) { writer.write("constant\n"); },
                       "constant\n");
        co_await check(
            [](StreamReader reader, StreamWriter writer) -> Coroutine<int> {
                co_await answer(reader, writer);
                co_return 1;
            },
            "you said x\n");
        co_await check([](StreamReader reader, StreamWriter writer) { return aio::create_task(echo, reader, writer); },
                       "x\n");
    });
    STATIC_REQUIRE_FALSE(aio::ConnectionHandler<int>);
    STATIC_REQUIRE_FALSE(aio::ConnectionHandler<void (*)(StreamReader)>);
}

TEST_CASE("a capturing handler lives as long as the last of its tasks") {
    aio::run([]() -> Coroutine<void> {
        const auto token = std::make_shared<std::string>("captured\n");
        const std::weak_ptr<std::string> watch = token;
        {
            const auto handler = [text = token](StreamReader& reader, StreamWriter& writer) -> Coroutine<void> {
                static_cast<void>(co_await reader.readline());
                writer.write(*text);
            };
            Server server = co_await start_server(handler, "127.0.0.1", 0);
            auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
            while (server.connections() == 0) co_await aio::sleep(0s);
            server.close();
            server = co_await start_server([](StreamReader, StreamWriter) {}, "127.0.0.1", 0);
            writer.write("x\n");
            const std::string line = co_await reader.readline();
            CHECK(line == "captured\n");
        }
        co_await settle();
        CHECK(watch.use_count() == 1);
    });
}

TEST_CASE("an empty host is every interface, with one port") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "", 0);
        const std::string four = co_await ask(server.port());
        CHECK(four == "x\n");
        if (!support::has_ipv6()) co_return;
        REQUIRE(server.addresses().size() == 2);
        CHECK(server.addresses()[0] == Address("0.0.0.0", server.port()));
        CHECK(server.addresses()[1] == Address("::", server.port()));
        const std::string six = co_await ask(server.port(), "::1");
        CHECK(six == "x\n");
    });
}

TEST_CASE("a server listens at each address of a name, and at IPv6") {
    aio::run([]() -> Coroutine<void> {
        Server named = co_await start_server(echo, "localhost", 0);
        const std::string line = co_await ask(named.port(), "localhost");
        CHECK(line == "x\n");
        if (!support::has_ipv6()) co_return;
        Server six = co_await start_server(echo, "::1", 0);
        const std::string from_six = co_await ask(six.port(), "::1");
        CHECK(from_six == "x\n");
        CHECK(six.addresses()[0] == Address("::1", six.port()));
    });
}

TEST_CASE("a port that is taken is an error, unless both share it") {
    aio::run([]() -> Coroutine<void> {
        Server first = co_await start_server(echo, "127.0.0.1", 0);
        const std::error_code taken = co_await failure_of(start_server(echo, "127.0.0.1", first.port()));
        CHECK(taken == std::errc::address_in_use);
        Server shared = co_await start_server(echo, "127.0.0.1", 0, {.reuse_port = true});
        Server sharing = co_await start_server(echo, "127.0.0.1", shared.port(), {.reuse_port = true});
        CHECK(sharing.port() == shared.port());
        const std::error_code unknown = co_await failure_of(start_server(echo, "no-such-host.invalid", 0));
        CHECK(unknown.category() == aio::resolver_category());
        CHECK_THROWS_AS(start_server(echo, "127.0.0.1", 65536), std::invalid_argument);
        CHECK_THROWS_AS(start_server(echo, "127.0.0.1", 0, {.backlog = 0}), std::invalid_argument);
    });
}

TEST_CASE("a server may have its port before it serves") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.limit = 7, .start_serving = false});
        CHECK_FALSE(server.is_serving());
        const bool refused = co_await is_refused(server.port());
        CHECK(refused);
        server.start_serving();
        server.start_serving();
        CHECK(server.is_serving());
        const std::string line = co_await ask(server.port());
        CHECK(line == "x\n");
        server.close();
        CHECK_THROWS_AS(server.start_serving(), UsageError);
    });
}

TEST_CASE("the limit is that of the readers") {
    aio::run([]() -> Coroutine<void> {
        const auto tell = [](StreamReader reader, StreamWriter writer) {
            writer.write(std::to_string(reader.limit()) + "\n");
        };
        Server server = co_await start_server(tell, "127.0.0.1", 0, {.limit = 7});
        const std::string line = co_await ask(server.port());
        CHECK(line == "7\n");
    });
}

TEST_CASE("serve_forever serves until the server is closed") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.start_serving = false});
        auto serving = aio::create_task(server.serve_forever());
        auto also = aio::create_task(server.serve_forever());
        co_await settle();
        CHECK(server.is_serving());
        const std::string line = co_await ask(server.port());
        CHECK(line == "x\n");
        server.close();
        co_await serving;
        co_await also;
        bool refused = false;
        try {
            co_await server.serve_forever();
        } catch (const UsageError&) {
            refused = true;
        }
        CHECK(refused);
    });
}

TEST_CASE("a cancelled serve_forever closes the server, and waits for nobody") {
    aio::run([]() -> Coroutine<void> {
        std::optional<Server> server = co_await start_server(echo, "127.0.0.1", 0);
        const int port = server->port();
        auto [reader, writer] = co_await open_connection("127.0.0.1", port);
        while (server->connections() == 0) co_await aio::sleep(0s);
        auto serving = aio::create_task(server->serve_forever());
        co_await settle();
        server.reset();  // the task keeps it open
        const std::string line = co_await ask(port);
        CHECK(line == "x\n");
        serving.cancel();
        co_await settle();
        CHECK(serving.cancelled());
        auto again = co_await start_server(echo, "127.0.0.1", port);
        auto serving_again = aio::create_task(again.serve_forever());
        co_await settle();
        serving_again.cancel();
        co_await settle();
        CHECK_FALSE(again.is_serving());
        const bool refused = co_await is_refused(port);
        CHECK(refused);
        writer.write("still here\n");
        const std::string still = co_await reader.readline();
        CHECK(still == "still here\n");
    });
}

TEST_CASE("close takes no more connections, and those that are accepted go on") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        while (server.connections() == 0) co_await aio::sleep(0s);
        auto closed = aio::create_task(server.wait_closed());
        server.close();
        server.close();
        const bool refused = co_await is_refused(server.port());
        CHECK(refused);
        writer.write("hello\n");
        const std::string line = co_await reader.readline();
        CHECK(line == "hello\n");
        CHECK_FALSE(closed.done());
        writer.close();
        co_await closed;
        co_await server.wait_closed();
    });
}

TEST_CASE("wait_closed waits for the close, for the connections and for their handlers") {
    aio::run([]() -> Coroutine<void> {
        aio::Event leave;
        std::optional<StreamWriter> kept;
        const auto linger = [&](StreamReader, StreamWriter writer) -> Coroutine<void> {
            if (!kept) {
                kept = writer;  // open longer than its handler runs
            } else {
                writer.close();  // and the other way round
                co_await leave.wait();
            }
        };
        Server server = co_await start_server(linger, "127.0.0.1", 0);
        auto closed = aio::create_task(server.wait_closed());
        auto cancelled = aio::create_task(server.wait_closed());
        auto one = co_await open_connection("127.0.0.1", server.port());
        while (!kept) co_await aio::sleep(0s);
        auto two = co_await open_connection("127.0.0.1", server.port());
        static_cast<void>(co_await two.first.read());
        CHECK(server.connections() == 2);
        server.close();
        cancelled.cancel();
        co_await settle();
        CHECK(cancelled.cancelled());
        leave.set();
        co_await settle();
        CHECK_FALSE(closed.done());
        CHECK(server.connections() == 1);
        kept.reset();
        co_await closed;
    });
}

TEST_CASE("close_clients and abort_clients end the connections, not the server") {
    for (const bool abort : {false, true}) {
        aio::run([&]() -> Coroutine<void> {
            Server server = co_await start_server(echo, "127.0.0.1", 0);
            std::vector<std::pair<StreamReader, StreamWriter>> clients;
            for (int i = 0; i < 3; ++i) {
                auto client = co_await open_connection("127.0.0.1", server.port());
                clients.push_back(std::move(client));
            }
            while (server.connections() != 3) co_await aio::sleep(0s);
            if (abort)
                server.abort_clients();
            else
                server.close_clients();
            for (auto& client : clients) {
                const std::string rest = co_await client.first.read();
                CHECK(rest.empty());
            }
            co_await settle();
            CHECK(server.connections() == 0);
            CHECK(server.is_serving());
            const std::string line = co_await ask(server.port());
            CHECK(line == "x\n");
        });
    }
}

TEST_CASE("a server closes with its last handle") {
    aio::run([]() -> Coroutine<void> {
        std::optional<Server> server = co_await start_server(echo, "127.0.0.1", 0);
        const int port = server->port();
        std::optional<Server> copy = *server;
        server.reset();
        std::optional<Server> moved = std::move(*copy);
        copy.reset();
        const std::string line = co_await ask(port);
        CHECK(line == "x\n");
        moved.reset();
        const bool refused = co_await is_refused(port);
        CHECK(refused);
    });
}

TEST_CASE("a handle of no server says so") {
    Server none;
    CHECK_THROWS_AS(none.port(), UsageError);
    CHECK_THROWS_AS(none.close(), UsageError);
    CHECK_THROWS_AS(none.serve_forever(), UsageError);
    const Server copy = none;
    CHECK_THROWS_AS(copy.wait_closed(), UsageError);
    none = copy;
}

TEST_CASE("handlers have the context of who started the server") {
    aio::run([]() -> Coroutine<void> {
        aio::ContextVar<int> number{"number"};
        number.set(7);
        const auto tell = [&](StreamReader, StreamWriter writer) { writer.write(std::to_string(number.get()) + "\n"); };
        Server server = co_await start_server(tell, "127.0.0.1", 0);
        number.set(8);
        const std::string line = co_await ask(server.port());
        CHECK(line == "7\n");
    });
}

TEST_CASE("a server closes with its loop, and its handle may outlive it") {
    std::optional<Server> server;
    {
        aio::EventLoop loop;
        server = loop.run_until_complete(start_server(echo, "127.0.0.1", 0));
        CHECK(server->is_serving());
    }
    CHECK_FALSE(server->is_serving());
    CHECK(server->port() != 0);
    CHECK_THROWS_AS(server->start_serving(), UsageError);
    server->close();
    server->abort_clients();
}

TEST_CASE("a connection that is flushed last of all takes the handler and what that keeps with it") {
    aio::run([]() -> Coroutine<void> {
        // The server's handler keeps the connection that keeps the server's state.
        auto members = std::make_shared<std::vector<StreamWriter>>();
        auto handler = [members](StreamReader, StreamWriter writer) -> Coroutine<void> {
            members->push_back(writer);
            writer.write(std::string(8'000'000, 'x'));
            writer.close();
            co_return;
        };
        const std::weak_ptr<std::vector<StreamWriter>> seen = members;
        Server server = co_await start_server(std::move(handler), "127.0.0.1", 0);
        members.reset();
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        co_await settle();
        server = Server{};
        const std::string all = co_await reader.read();
        CHECK(all.size() == 8'000'000);
        co_await settle();
        CHECK(seen.expired());
    });
}
