// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/detail/connect.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::asyncio::Coroutine;
using plait::asyncio::detail::connect_first;
using plait::asyncio::detail::interleave_families;
namespace aio = plait::asyncio;
namespace os = plait::os;
using Catch::Matchers::ContainsSubstring;
using Addresses = std::vector<os::SocketAddress>;

namespace {

struct Listener {
    explicit Listener(int backlog = 8) {
        os::listen(socket, backlog);
        address = os::local_address(socket.get());
    }
    os::Handle socket = os::bind_stream(os::loopback_address(os::SocketFamily::ipv4, 0), false);
    os::SocketAddress address;
};

/// One that answers nobody: its queue is full.
struct SilentListener : Listener {
    SilentListener() : Listener{0} {
        for (os::Handle& each : visitors) {
            each = os::stream_socket(os::SocketFamily::ipv4);
            static_cast<void>(os::connect(each, address));
        }
    }
    os::Handle visitors[4];
};

/// A place where nobody listens, and while it lives nobody else can come to.
struct Nobody {
    Nobody() { os::bind(socket, os::loopback_address(os::SocketFamily::ipv4, 0)); }
    [[nodiscard]] os::SocketAddress address() const { return os::local_address(socket.get()); }

    os::Handle socket = os::stream_socket(os::SocketFamily::ipv4);
};

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<os::SocketAddress> peer_of_first(Addresses addresses, Timeout patience) {
    const os::Handle connection = co_await connect_first(std::move(addresses), {}, "place", patience);
    co_return os::peer_address(connection.get());
}

}  // namespace

TEST_CASE("addresses are tried in turn, at once after one that is refused") {
    aio::run([]() -> Coroutine<void> {
        const Listener first, second;
        const Nobody nobody, no_other;
        for (const Timeout patience : {Timeout::never(), Timeout{1h}}) {
            const Addresses good{first.address, second.address};
            const os::SocketAddress taken = co_await peer_of_first(good, patience);
            CHECK(taken == first.address);
            const Addresses after_refusals{nobody.address(), no_other.address(), second.address};
            const os::SocketAddress last = co_await peer_of_first(after_refusals, patience);
            CHECK(last == second.address);
        }
    });
}

TEST_CASE("after one that cannot be tried at all the next is tried at once, whoever else is under way") {
    support::run_virtual([]() -> Coroutine<void> {
        const SilentListener silent;
        const Listener good;
        const os::SocketAddress nowhere = os::SocketAddress::local("/no such directory/socket");
        const Addresses begins_with_it{nowhere, nowhere, good.address};
        const auto begin = aio::get_running_loop().time();
        const os::SocketAddress third = co_await peer_of_first(begins_with_it, 1h);
        CHECK(third == good.address);
        CHECK(aio::get_running_loop().time() == begin);
        const Addresses after_another{silent.address, nowhere, good.address};
        const os::SocketAddress last = co_await peer_of_first(after_another, 1h);
        CHECK(last == good.address);
        CHECK(aio::get_running_loop().time() == begin + 1h);
    });
}

TEST_CASE("one that does not answer is waited for, or raced after the delay") {
    aio::run([]() -> Coroutine<void> {
        const SilentListener silent;
        const Listener good;
        const Addresses addresses{silent.address, good.address};
        auto patient = aio::create_task(peer_of_first(addresses, Timeout::never()));
        const os::SocketAddress raced = co_await peer_of_first(addresses, 1ms);
        CHECK(raced == good.address);
        CHECK_FALSE(patient.done());
        patient.cancel();
        co_await settle();
        CHECK(patient.cancelled());
    });
}

TEST_CASE("one that was raced may still win") {
    aio::run([]() -> Coroutine<void> {
        SilentListener slow;
        const SilentListener silent;
        const Nobody nobody;
        const Addresses addresses{slow.address, silent.address, nobody.address()};
        auto racing = aio::create_task(peer_of_first(addresses, 1ms));
        // The refusal, which comes last, does not end the race.
        for (int i = 0; i < 3; ++i) co_await aio::sleep(2ms);
        CHECK_FALSE(racing.done());
        // The queue has room from here on: the kernel asks again within a second or so.
        while (!racing.done()) {
            static_cast<void>(os::accept(slow.socket));
            co_await aio::sleep(1ms);
        }
        const os::SocketAddress& winner = co_await racing;
        CHECK(winner == slow.address);
    });
}

TEST_CASE("where all fail each is told, and why") {
    aio::run([]() -> Coroutine<void> {
        const Nobody nobody, no_other;
        const os::SocketAddress one = nobody.address(), two = no_other.address();
        for (const bool both : {false, true}) {
            const Addresses addresses = both ? Addresses{one, two} : Addresses{one};
            std::string text;
            try {
                static_cast<void>(co_await peer_of_first(addresses, Timeout::never()));
            } catch (const std::system_error& error) {
                text = error.what();
                CHECK(error.code() == std::errc::connection_refused);
            }
            CHECK_THAT(text, ContainsSubstring("connect to place"));
            CHECK((text.find(one.to_string()) != std::string::npos) == both);
            CHECK((text.find(two.to_string()) != std::string::npos) == both);
        }
    });
}

TEST_CASE("a race that is cancelled or abandoned at any step leaves nothing behind") {
    // The harness fails a case that leaves a descriptor open.
    const SilentListener silent;
    const Addresses addresses{silent.address, silent.address, silent.address};
    for (int passes = 0; passes < 4; ++passes) {
        aio::run([&]() -> Coroutine<void> {
            auto racing = aio::create_task(peer_of_first(addresses, 1ms));
            for (int i = 0; i < passes; ++i) co_await aio::sleep(1ms);
            racing.cancel();
            co_await settle();
            CHECK(racing.cancelled());
        });
        aio::EventLoop loop;
        loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
        static_cast<void>(loop.create_task(peer_of_first(addresses, 1ms)));
        for (int i = 0; i < passes; ++i) loop.run_until_complete(aio::sleep(1ms));
    }
}

TEST_CASE("a race has a limit by wait_for") {
    aio::run([]() -> Coroutine<void> {
        const SilentListener silent;
        const Addresses addresses{silent.address};
        auto opening = connect_first(addresses, {}, "place", Timeout::never());
        bool timed_out = false;
        try {
            static_cast<void>(co_await aio::wait_for(std::move(opening), 1ms));
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
    });
}

TEST_CASE("families take turns, and begin with the first one's") {
    const auto four = [](int port) {
        return os::loopback_address(os::SocketFamily::ipv4, static_cast<std::uint16_t>(port));
    };
    const auto six = [](int port) {
        return os::loopback_address(os::SocketFamily::ipv6, static_cast<std::uint16_t>(port));
    };
    Addresses addresses{six(1), six(2), six(3), four(1), four(2)};
    interleave_families(addresses);
    CHECK((addresses == Addresses{six(1), four(1), six(2), four(2), six(3)}));
    Addresses others{four(1), six(1), six(2)};
    interleave_families(others);
    CHECK((others == Addresses{four(1), six(1), six(2)}));
    Addresses none;
    interleave_families(none);
    CHECK(none.empty());
}
