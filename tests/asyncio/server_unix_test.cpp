// SPDX-License-Identifier: MIT
#include <plait/asyncio/open_connection.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/sleep.hpp>

#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/loopback.hpp"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using plait::asyncio::Address;
using plait::asyncio::Coroutine;
using plait::asyncio::open_unix_connection;
using plait::asyncio::Server;
using plait::asyncio::start_unix_server;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
using support::TemporaryFolder;
namespace aio = plait::asyncio;
using Catch::Matchers::ContainsSubstring;

namespace {

Coroutine<void> echo_line(StreamReader reader, StreamWriter writer) {
    const std::string line = co_await reader.readline();
    writer.write(line);
}
Coroutine<std::string> ask(std::string path) {
    auto [reader, writer] = co_await open_unix_connection(path);
    writer.write("x\n");
    co_return co_await reader.readline();
}
struct Failure {
    std::error_code code;
    std::string text;
};
Coroutine<Failure> failure_of(Coroutine<Server> starting) {
    Failure failure;
    try {
        static_cast<void>(co_await std::move(starting));
    } catch (const std::system_error& error) {
        failure.code = error.code();
        failure.text = error.what();
    }
    co_return failure;
}

}  // namespace

TEST_CASE("a UNIX server serves at its path, and removes it when it closes") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        Server server = co_await start_unix_server(echo_line, path);
        CHECK(server.addresses().front() == Address::local(path));
        CHECK(server.port() == 0);
        CHECK(std::filesystem::is_socket(path));
        const std::string line = co_await ask(path);
        CHECK(line == "x\n");
        server.close();
        CHECK_FALSE(std::filesystem::exists(path));
        co_await server.wait_closed();
    });
}

TEST_CASE("the path is removed with the last handle, and with the loop") {
    const TemporaryFolder directory;
    const std::string path = directory.file("socket");
    aio::run([&]() -> Coroutine<void> {
        {
            Server server = co_await start_unix_server(echo_line, path, {.start_serving = false});
        }
        CHECK_FALSE(std::filesystem::exists(path));
    });
    std::optional<Server> server;
    {
        aio::EventLoop loop;
        server = loop.run_until_complete(start_unix_server(echo_line, path));
        CHECK(std::filesystem::exists(path));
    }
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a path that another server has taken over is left alone") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        Server first = co_await start_unix_server(echo_line, path);
        std::filesystem::remove(path);
        Server second = co_await start_unix_server(echo_line, path);
        first.close();
        CHECK(std::filesystem::exists(path));
        const std::string line = co_await ask(path);
        CHECK(line == "x\n");
    });
}

TEST_CASE("a stale socket is replaced; a live one and what is no socket are not") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        {
            const plait::os::Handle stale = plait::os::bind_local(plait::os::SocketAddress::local(path));
            plait::os::listen(stale, 1);
        }
        Server server = co_await start_unix_server(echo_line, path);
        const std::string line = co_await ask(path);
        CHECK(line == "x\n");
        const Failure live = co_await failure_of(start_unix_server(echo_line, path));
        CHECK(live.code == std::errc::address_in_use);
        CHECK_THAT(live.text, ContainsSubstring(path));
        const std::string file = directory.file("file");
        std::fclose(std::fopen(file.c_str(), "w"));
        const Failure other = co_await failure_of(start_unix_server(echo_line, file));
        CHECK(other.code == std::errc::address_in_use);
        CHECK(std::filesystem::is_regular_file(file));
        const Failure nowhere = co_await failure_of(start_unix_server(echo_line, directory.file("none/socket")));
        CHECK(nowhere.code == std::errc::no_such_file_or_directory);
        CHECK_THROWS_AS(start_unix_server(echo_line, ""), std::invalid_argument);
        CHECK_THROWS_AS(start_unix_server(echo_line, path, {.reuse_port = true}), std::invalid_argument);
    });
}

TEST_CASE("an abstract name needs no file") {
    aio::run([]() -> Coroutine<void> {
        const std::string name = std::string{"\0plait-test-", 12} + std::to_string(::getpid());
        Server server = co_await start_unix_server(echo_line, name);
        CHECK(server.addresses().front().path() == name);
        const std::string line = co_await ask(name);
        CHECK(line == "x\n");
        server.close();
        const Failure free_again = co_await failure_of(start_unix_server(echo_line, name));
        CHECK_FALSE(free_again.code);
    });
}

TEST_CASE("a fork's copy of a server takes nothing from the parent's") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        Server server = co_await start_unix_server(echo_line, path);
        co_await aio::sleep(0s);
        support::ForkedChild child{[&] {
            server.close();
            return 0;
        }};
        CHECK(child.join() == 0);
        CHECK(std::filesystem::exists(path));
        const std::string line = co_await ask(path);
        CHECK(line == "x\n");
    });
}
