// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/open_connection.hpp>
#include <plait/asyncio/readiness.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/loopback.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using plait::asyncio::Address;
using plait::asyncio::Coroutine;
using plait::asyncio::open_connection;
using plait::asyncio::open_unix_connection;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
using support::TemporaryFolder;
namespace aio = plait::asyncio;
namespace os = plait::os;
using Catch::Matchers::ContainsSubstring;

namespace {

using Streams = std::pair<StreamReader, StreamWriter>;

/// A listening socket, and the streams of who connects to it.
struct Listener {
    explicit Listener(const os::SocketAddress& at, int backlog = 8)
        : socket{at.family() == os::SocketFamily::local ? os::bind_local(at) : os::bind_stream(at, false)},
          address{os::local_address(socket.get())} {
        os::listen(socket, backlog);
    }
    static os::SocketAddress loopback(os::SocketFamily family = os::SocketFamily::ipv4) {
        return os::loopback_address(family, 0);
    }
    Coroutine<Streams> accept() {
        for (;;) {
            os::Accepted accepted = os::accept(socket);
            if (accepted.what == os::Accepting::accepted)
                co_return aio::detail::make_streams(aio::detail::Reactor::of_running_loop(),
                                                    std::move(accepted.connection), aio::detail::StreamKind::socket);
            co_await aio::wait_readable(socket.get());
        }
    }

    os::Handle socket;
    os::SocketAddress address;
};

int unused_port() { return Listener{Listener::loopback()}.address.port(); }

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}

/// What a failed attempt threw.
struct Failure {
    std::error_code code;
    std::string text;
};
Coroutine<Failure> failure_of(Coroutine<Streams> opening) {
    Failure failure;
    try {
        static_cast<void>(co_await std::move(opening));
    } catch (const std::system_error& error) {
        failure.code = error.code();
        failure.text = error.what();
    }
    co_return failure;
}

Coroutine<void> check_carries_both_ways(Streams near_end, Streams far_end) {
    near_end.second.write("question\n");
    const std::string question = co_await far_end.first.readline();
    CHECK(question == "question\n");
    far_end.second.write("answer\n");
    const std::string answer = co_await near_end.first.readline();
    CHECK(answer == "answer\n");
}

}  // namespace

TEST_CASE("a connection carries data both ways, and knows both ends") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.address.port());
        CHECK(writer.peername() == Address("127.0.0.1", server.address.port()));
        auto [far_reader, far_writer] = co_await server.accept();
        CHECK(far_writer.peername() == writer.sockname());
        CHECK(far_writer.sockname() == writer.peername());
        int at_once = 0;
        socklen_t size = sizeof at_once;
        const int native = support::native_socket_at(writer.sockname().port());
        CHECK(::getsockopt(native, IPPROTO_TCP, TCP_NODELAY, &at_once, &size) == 0);
        CHECK(at_once != 0);
        co_await check_carries_both_ways({reader, writer}, {far_reader, far_writer});
        writer.close();
        CHECK_FALSE(writer.peername());
    });
}

TEST_CASE("a connection goes over IPv6") {
    if (!support::has_ipv6()) return;
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback(os::SocketFamily::ipv6)};
        Streams client = co_await open_connection("::1", server.address.port());
        Streams far_end = co_await server.accept();
        CHECK(client.second.peername().to_string() == server.address.to_string());
        co_await check_carries_both_ways(client, far_end);
    });
}

TEST_CASE("a connection is made to a name") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        for (const plait::Timeout delay : {plait::Timeout::never(), plait::Timeout{250ms}}) {
            Streams client =
                co_await open_connection("localhost", server.address.port(), {.happy_eyeballs_delay = delay});
            Streams far_end = co_await server.accept();
            co_await check_carries_both_ways(client, far_end);
        }
    });
}

TEST_CASE("strings given to open_connection need not outlive the call") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        std::optional<aio::Task<Streams>> task;
        {
            std::string host = "127.0.0.1";
            task = aio::create_task(open_connection(host, server.address.port(), {.local_host = host}));
            host.assign(host.size(), '-');
        }
        const Streams& client = co_await *task;
        CHECK(client.second.sockname().host() == "127.0.0.1");
    });
}

TEST_CASE("a refused connection is an error with the place in its text") {
    aio::run([]() -> Coroutine<void> {
        // Bound, so that it is nobody else's, and nobody listens.
        const os::Handle silent = os::stream_socket(os::SocketFamily::ipv4);
        os::bind(silent, Listener::loopback());
        const int port = os::local_address(silent.get()).port();
        const Failure failure = co_await failure_of(open_connection("127.0.0.1", port));
        CHECK(failure.code == std::errc::connection_refused);
        CHECK_THAT(failure.text, ContainsSubstring("127.0.0.1:" + std::to_string(port)));
        const Failure by_name = co_await failure_of(open_connection("localhost", port));
        CHECK(by_name.code == std::errc::connection_refused);
        CHECK_THAT(by_name.text, ContainsSubstring("localhost:" + std::to_string(port)));
    });
}

TEST_CASE("a name that does not resolve is an error that names it") {
    aio::run([]() -> Coroutine<void> {
        const Failure failure = co_await failure_of(open_connection("no-such-host.invalid", 80));
        CHECK(failure.code.category() == aio::resolver_category());
        CHECK_THAT(failure.text, ContainsSubstring("no-such-host.invalid"));
    });
}

TEST_CASE("what is no port is refused at the call") {
    CHECK_THROWS_AS(open_connection("127.0.0.1", 65536), std::invalid_argument);
    CHECK_THROWS_AS(open_connection("127.0.0.1", -1), std::invalid_argument);
    CHECK_THROWS_AS(open_connection("127.0.0.1", 80, {.local_port = 70000}), std::invalid_argument);
    CHECK_THROWS_AS(open_unix_connection(""), std::invalid_argument);
}

TEST_CASE("a connection goes from where it is told to") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        const int port = unused_port();
        {
            auto [reader, writer] = co_await open_connection("127.0.0.1", server.address.port(),
                                                             {.local_host = "127.0.0.1", .local_port = port});
            CHECK(writer.sockname() == Address("127.0.0.1", port));
            writer.abort();
        }
        const int another = unused_port();
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.address.port(), {.local_port = another});
        CHECK(writer.sockname().port() == another);
        const Failure taken =
            co_await failure_of(open_connection("127.0.0.1", server.address.port(), {.local_port = another}));
        CHECK((taken.code == std::errc::address_in_use || taken.code == std::errc::address_not_available));
    });
}

TEST_CASE("the limit is the reader's") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.address.port(), {.limit = 10});
        CHECK(reader.limit() == 10);
    });
}

TEST_CASE("without a descriptor a connection is an error that says so") {
    aio::run([]() -> Coroutine<void> {
        Listener server{Listener::loopback()};
        co_await settle();
        static_cast<void>(aio::detail::Reactor::of_running_loop());
        const support::DescriptorLimit none{0};
        const Failure failure = co_await failure_of(open_connection("127.0.0.1", server.address.port()));
        CHECK(failure.code == std::errc::too_many_files_open);
    });
}

TEST_CASE("cancelled or abandoned at any step, opening a connection leaves nothing behind") {
    // The harness fails a case that leaves a descriptor open.
    Listener server{Listener::loopback()};
    for (int passes = 0; passes < 6; ++passes) {
        aio::run([&]() -> Coroutine<void> {
            auto task = aio::create_task(open_connection("127.0.0.1", server.address.port()));
            for (int i = 0; i < passes; ++i) co_await aio::sleep(0s);
            task.cancel();
            try {
                static_cast<void>(co_await std::move(task));
            } catch (const plait::CancelledError&) {
            }
        });
        aio::EventLoop loop;
        loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
        static_cast<void>(loop.create_task(open_connection("127.0.0.1", server.address.port())));
        for (int i = 0; i < passes; ++i) loop.run_until_complete(aio::sleep(0s));
    }
}

TEST_CASE("a UNIX connection carries data both ways") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        Listener server{os::SocketAddress::local(path)};
        Streams client = co_await open_unix_connection(path);
        Streams far_end = co_await server.accept();
        CHECK(client.second.peername() == Address::local(path));
        CHECK(client.second.sockname().path().empty());
        co_await check_carries_both_ways(client, far_end);
    });
}

TEST_CASE("a UNIX socket that is not there, or has nobody behind it, is an error with its path") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        const Failure missing = co_await failure_of(open_unix_connection(path));
        CHECK(missing.code == std::errc::no_such_file_or_directory);
        CHECK_THAT(missing.text, ContainsSubstring(path));
        {
            const Listener gone{os::SocketAddress::local(path)};
        }
        const Failure refused = co_await failure_of(open_unix_connection(path));
        CHECK(refused.code == std::errc::connection_refused);
    });
}

TEST_CASE("a UNIX connection waits while its server's queue is full") {
    aio::run([]() -> Coroutine<void> {
        const TemporaryFolder directory;
        const std::string path = directory.file("socket");
        Listener server{os::SocketAddress::local(path), 1};
        std::vector<aio::Task<Streams>> clients;
        for (int i = 0; i < 20; ++i) clients.push_back(aio::create_task(open_unix_connection(path)));
        co_await settle();
        CHECK_FALSE(clients.back().done());
        std::vector<Streams> accepted;
        for (int i = 0; i < 20; ++i) {
            Streams each = co_await server.accept();
            accepted.push_back(std::move(each));
        }
        for (auto& each : clients) static_cast<void>(co_await each);
    });
}

TEST_CASE("a local host of another family than the host's is refused, and so is a limit of nothing") {
    aio::run([]() -> Coroutine<void> {
        CHECK_THROWS_AS(co_await open_connection("127.0.0.1", 1, {.local_host = "::1"}), std::invalid_argument);
        CHECK_THROWS_AS(open_connection("127.0.0.1", 1, {.limit = 0}), std::invalid_argument);
        const auto handler = [](plait::asyncio::StreamReader, plait::asyncio::StreamWriter) {};
        CHECK_THROWS_AS(aio::start_server(handler, "127.0.0.1", 0, {.limit = 0}), std::invalid_argument);
    });
}
