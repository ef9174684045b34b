// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/open_connection.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/loopback.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::open_connection;
using plait::asyncio::Server;
using plait::asyncio::start_server;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
using support::ErrorLog;
using support::run_virtual;
namespace aio = plait::asyncio;
namespace os = plait::os;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<void> echo(StreamReader reader, StreamWriter writer) {
    for (;;) {
        const std::string data = co_await reader.read(4096);
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
    }
}
Coroutine<std::string> ask(int port) {
    auto [reader, writer] = co_await open_connection("127.0.0.1", port);
    writer.write("x\n");
    co_return co_await reader.readline();
}
/// Connects to a server whose loop has no turn meanwhile.
os::Handle visit(int port) {
    os::Handle socket = os::stream_socket(os::SocketFamily::ipv4);
    static_cast<void>(
        os::connect(socket, os::loopback_address(os::SocketFamily::ipv4, static_cast<std::uint16_t>(port))));
    return socket;
}
/// Closes it as a program that is killed in mid-transfer does.
void reset(os::Handle& socket) {
    const linger at_once{1, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    socket.reset();
}
Coroutine<void> until_gone(const Server& server) {
    while (server.connections() != 0) co_await aio::sleep(0s);
}

}  // namespace

TEST_CASE("an exception that leaves a handler is told, and closes that connection alone") {
    for (const bool awaits : {false, true}) {
        ErrorLog log;
        aio::run([&]() -> Coroutine<void> {
            log.watch(aio::get_running_loop());
            std::optional<StreamWriter> kept;
            const auto fail = [&](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
                kept = writer;
                writer.write("before\n");
                if (awaits) static_cast<void>(co_await reader.readline());
                throw std::runtime_error("handler");
            };
            Server server = co_await start_server(fail, "127.0.0.1", 0);
            auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
            writer.write("x\n");
            const std::string all = co_await reader.read();
            CHECK(all == "before\n");
            CHECK(kept->is_closing());
            kept.reset();
            co_await until_gone(server);
            CHECK(server.is_serving());
        });
        REQUIRE(log.messages.size() == 1);
        CHECK(log.messages[0] == "an exception left the handler of a connection");
        CHECK(log.texts[0] == "handler");
        CHECK_FALSE(log.tasks[0].empty());
    }
}

TEST_CASE("an exception that leaves a plain handler is told, too") {
    ErrorLog log;
    aio::run([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        Server server = co_await start_server([](StreamReader, StreamWriter) { throw std::runtime_error("plain"); },
                                              "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        const std::string all = co_await reader.read();
        CHECK(all.empty());
        co_await until_gone(server);
    });
    CHECK(log.texts == std::vector<std::string>{"plain"});
}

TEST_CASE("where descriptors run out connections wait; that is told once, and none is lost") {
    ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        std::vector<os::Handle> visitors;
        for (int i = 0; i < 5; ++i) visitors.push_back(visit(server.port()));
        support::DescriptorLimit none{0};
        co_await aio::sleep(2s);
        CHECK(server.connections() == 0);
        CHECK(log.messages.size() == 1);
        CHECK(server.is_serving());
        none.lift();
        co_await aio::sleep(1s);
        CHECK(server.connections() == 5);
        visitors.clear();
        co_await until_gone(server);
        // And once more where it has recovered meanwhile.
        visitors.push_back(visit(server.port()));
        const support::DescriptorLimit again{0};
        co_await aio::sleep(2s);
        CHECK(log.messages.size() == 2);
    });
    CHECK_THAT(log.texts[0], Catch::Matchers::ContainsSubstring("accept"));
}

TEST_CASE("a connection that closes makes room for one that waits, at once") {
    ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        int begun = 0;
        const auto count = [&](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
            ++begun;
            co_await echo(reader, writer);
        };
        Server server = co_await start_server(count, "127.0.0.1", 0);
        std::vector<os::Handle> visitors;
        for (int i = 0; i < 5; ++i) visitors.push_back(visit(server.port()));
        const support::DescriptorLimit two{2};
        while (log.messages.empty()) co_await aio::sleep(0s);
        CHECK(server.connections() == 2);
        const auto time = aio::get_running_loop().time();
        for (int i = 3; i <= 5; ++i) {
            server.abort_clients();
            while (begun < (std::min)(5, 2 * (i - 1))) co_await aio::sleep(0s);
        }
        CHECK(begun == 5);
        CHECK(aio::get_running_loop().time() == time);
        CHECK(log.messages.size() == 1);
    });
}

TEST_CASE("an exception handler may close the server that it is told of") {
    run_virtual([]() -> Coroutine<void> {
        std::optional<Server> server = co_await start_server(echo, "127.0.0.1", 0);
        int told = 0;
        aio::get_running_loop().set_exception_handler([&](aio::EventLoop&, const aio::ErrorContext&) {
            ++told;
            server.reset();
        });
        const os::Handle visitor = visit(server->port());
        const support::DescriptorLimit none{0};
        co_await aio::sleep(1s);
        CHECK(told == 1);
        CHECK_FALSE(server);
    });
}

TEST_CASE("a peer that resets before it is accepted, or later, harms no other") {
    ErrorLog log;
    aio::run([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        os::Handle early = visit(server.port());
        reset(early);
        os::Handle late = visit(server.port());
        while (server.connections() == 0) co_await aio::sleep(0s);
        co_await settle();
        reset(late);
        co_await until_gone(server);
        const std::string line = co_await ask(server.port());
        CHECK(line == "x\n");
    });
    for (const std::string& text : log.texts)
        CHECK_THAT(text,
                   Catch::Matchers::ContainsSubstring(std::error_code(ECONNRESET, std::system_category()).message()));
}

TEST_CASE("a peer that has sent its end is still answered") {
    aio::run([]() -> Coroutine<void> {
        const auto answer = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
            const std::string all = co_await reader.read();
            writer.write("you said " + all);
        };
        Server server = co_await start_server(answer, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        writer.write("everything");
        writer.write_eof();
        const std::string all = co_await reader.read();
        CHECK(all == "you said everything");
    });
}

TEST_CASE("a peer that never reads is waited for until its connection is aborted") {
    ErrorLog log;
    aio::run([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        const auto talk = [](StreamReader, StreamWriter writer) -> Coroutine<void> {
            for (;;) {
                writer.write(std::string(100'000, 'x'));
                co_await writer.drain();
            }
        };
        Server server = co_await start_server(talk, "127.0.0.1", 0);
        const os::Handle silent = visit(server.port());
        while (server.connections() == 0) co_await aio::sleep(0s);
        for (int i = 0; i < 200; ++i) co_await aio::sleep(0s);
        server.close();
        server.close_clients();
        co_await settle();
        CHECK(server.connections() == 1);
        server.abort_clients();
        co_await server.wait_closed();
    });
    CHECK(log.messages.size() == 1);  // what drain threw
}

TEST_CASE("those who wait to be accepted hear of the close") {
    aio::run([]() -> Coroutine<void> {
        int begun = 0;
        Server server = co_await start_server([&](StreamReader, StreamWriter) { ++begun; }, "127.0.0.1", 0);
        auto [reader, writer] = aio::detail::make_streams(aio::detail::Reactor::of_running_loop(), visit(server.port()),
                                                          aio::detail::StreamKind::socket);
        server.close();
        bool ended = false;
        try {
            const std::string all = co_await reader.read();
            ended = all.empty();
        } catch (const std::system_error& error) {
            ended = error.code() == std::errc::connection_reset;
        }
        CHECK(ended);
        CHECK(begun == 0);
    });
}

TEST_CASE("a thousand connections at once are all served") {
    aio::run([]() -> Coroutine<void> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.backlog = 1000});
        std::vector<Coroutine<std::string>> questions;
        for (int i = 0; i < 1000; ++i) questions.push_back(ask(server.port()));
        auto asking = aio::gather(std::move(questions));
        const std::vector<std::string> answers = co_await std::move(asking);
        CHECK(std::count(answers.begin(), answers.end(), "x\n") == 1000);
        co_await until_gone(server);
    });
}

TEST_CASE("a run that ends, and a loop that closes, at any step of a conversation leave nothing behind") {
    // The harness fails a case that leaves a descriptor open.
    const auto converse = [](Server& server, int passes) -> Coroutine<void> {
        server = co_await start_server(echo, "127.0.0.1", 0);
        for (int i = 0; i < 3; ++i) static_cast<void>(aio::create_task(ask(server.port())));
        for (int i = 0; i < passes; ++i) co_await aio::sleep(0s);
    };
    for (int passes = 0; passes < 12; ++passes) {
        for (const bool keeps_handle : {false, true}) {
            Server kept;
            aio::run([&]() -> Coroutine<void> {
                Server server;
                co_await converse(keeps_handle ? kept : server, passes);
            });
            aio::EventLoop loop;
            loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
            Server server;
            loop.run_until_complete(converse(keeps_handle ? kept : server, passes));
        }
    }
}

TEST_CASE("start_server that is cancelled or abandoned at any step leaves nothing behind") {
    for (int passes = 0; passes < 6; ++passes) {
        aio::run([&]() -> Coroutine<void> {
            auto starting = aio::create_task(start_server(echo, "localhost", 0));
            for (int i = 0; i < passes; ++i) co_await aio::sleep(0s);
            starting.cancel();
            try {
                static_cast<void>(co_await std::move(starting));
            } catch (const plait::CancelledError&) {
            }
        });
        aio::EventLoop loop;
        loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
        static_cast<void>(loop.create_task(start_server(echo, "localhost", 0)));
        for (int i = 0; i < passes; ++i) loop.run_until_complete(aio::sleep(0s));
    }
}
