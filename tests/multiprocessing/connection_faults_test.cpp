// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>
#include <plait/multiprocessing/pipe.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/failing_receive.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

// Sends and receives that are short, interrupted, or fail, and processes that are killed in the midst of them.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::EndOfStream;
using plait::TimeoutError;
using plait::multiprocessing::Connection;
using plait::multiprocessing::Pipe;
using plait::multiprocessing::detail::ConnectionAccess;
using Bytes = std::vector<std::byte>;

namespace {

/// What the socket calls of this program do, other than usual: never more than so many bytes, and a failure now and then.
struct SocketFaults {
    std::size_t most = SIZE_MAX;
    int error = 0;       ///< what fails with it
    unsigned every = 0;  ///< which call fails: each of so many
};
std::atomic<bool> disturbed{false};
SocketFaults faults;
std::atomic<unsigned> calls{0};
std::atomic<unsigned> calls_with_handles{0};

/// For its scope.
class Disturbed {
public:
    explicit Disturbed(SocketFaults which) {
        faults = which;
        calls = 0;
        disturbed = true;
    }
    Disturbed(const Disturbed&) = delete;
    Disturbed& operator=(const Disturbed&) = delete;
    ~Disturbed() { disturbed = false; }
};

bool fails() {
    if (!disturbed || faults.every == 0 || ++calls % faults.every != 0) return false;
    errno = faults.error;
    return true;
}
std::size_t shortened(std::size_t size) { return disturbed ? (std::min)(size, faults.most) : size; }

/// The message with its first parts only.
template <class Call>
ssize_t call_shortened(const msghdr* message, Call call) {
    msghdr some = *message;
    iovec parts[8];
    std::size_t left = disturbed ? faults.most : SIZE_MAX;
    std::size_t count = 0;
    for (; count < some.msg_iovlen && count < 8 && left != 0; ++count) {
        parts[count] = some.msg_iov[count];
        parts[count].iov_len = (std::min)(parts[count].iov_len, left);
        left -= parts[count].iov_len;
    }
    some.msg_iov = parts;
    some.msg_iovlen = count;
    return call(&some);
}

Bytes pattern(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

/// Sends some of everything from one thread, receives it in this one; whether it arrived as it was.
bool everything_arrives(Connection& left, Connection& right, std::size_t large) {
    const Bytes bytes = pattern(large);
    std::vector<int> numbers(large / sizeof(int));
    std::iota(numbers.begin(), numbers.end(), 0);
    bool arrived = true;
    std::string failure;
    auto [traveller, other] = Pipe();
    std::thread sender{[&, &from = left, &end = traveller] {
        try {
            from.send(7);
            from.send("text");
            from.send_bytes(bytes);
            from.send(numbers);
            from.send(std::move(end));
            from.send(std::vector<std::string>(100, "many"));
            from.send_bytes({});
        } catch (const std::exception& error) {
            failure = error.what();
            from.close();
        }
    }};
    try {
        arrived = right.recv<int>(50s) == 7 && arrived;
        arrived = right.recv<std::string>(50s) == "text" && arrived;
        arrived = right.recv_bytes(50s) == bytes && arrived;
        arrived = right.recv<std::vector<int>>(50s) == numbers && arrived;
        auto connection = right.recv<Connection>(50s);
        connection.send(6);
        arrived = other.recv<int>(50s) == 6 && arrived;
        arrived = right.recv<std::vector<std::string>>(50s) == std::vector<std::string>(100, "many") && arrived;
        arrived = right.recv_bytes(50s).empty() && arrived;
    } catch (const std::exception& error) {
        failure += error.what();
        right.close();
    }
    sender.join();
    UNSCOPED_INFO(failure);
    return arrived && failure.empty();
}

/// What a copy of this program sends by `send(end)`, as bytes.
template <class Send>
Bytes recorded(Send send) {
    auto [left, right] = Pipe();
    send(left);
    Bytes bytes(1 << 16);
    const auto size = ::recv(ConnectionAccess::endpoint(right).native(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(static_cast<std::size_t>(size));
    return bytes;
}

}  // namespace

// In place of the C library's, for this whole program.
extern "C" ssize_t recvmsg(int descriptor, msghdr* message, int flags) {
    if (support::failing_receive > 0 && --support::failing_receive == 0) {
        errno = ENOMEM;
        return -1;
    }
    if (fails()) return -1;
    msghdr* const original = message;
    return call_shortened(message, [&](msghdr* some) {
        const auto result = ::syscall(SYS_recvmsg, descriptor, some, flags);
        original->msg_controllen = some->msg_controllen;
        original->msg_flags = some->msg_flags;
        return result;
    });
}
extern "C" ssize_t sendmsg(int descriptor, const msghdr* message, int flags) {
    if (fails()) return -1;
    if (message->msg_controllen != 0) ++calls_with_handles;
    return call_shortened(message, [&](msghdr* some) { return ::syscall(SYS_sendmsg, descriptor, some, flags); });
}
extern "C" ssize_t send(int descriptor, const void* bytes, std::size_t size, int flags) {
    if (fails()) return -1;
    return ::syscall(SYS_sendto, descriptor, bytes, shortened(size), flags, nullptr, 0);
}

TEST_CASE("messages arrive whole when no call takes or gives more than a few bytes") {
    auto [left, right] = Pipe();
    const std::size_t most = GENERATE(1UL, 2UL, 3UL, 17UL, 1000UL);
    const Disturbed disturbance{{.most = most}};
    CHECK(everything_arrives(left, right, most == 1 ? 70'000 : 100'000));
}

TEST_CASE("handles go once, however many calls their message takes") {
    auto [left, right] = Pipe();
    auto [a, b] = Pipe();
    calls_with_handles = 0;
    {
        const Disturbed disturbance{{.most = 7}};
        left.send(std::move(a));
    }
    CHECK(calls_with_handles == 1);
    right.recv<Connection>().send(1);
    CHECK(b.recv<int>() == 1);
}

TEST_CASE("messages arrive whole when calls are interrupted, or find nothing where there was something") {
    auto [left, right] = Pipe();
    const int error = GENERATE(EINTR, EAGAIN);
    const Disturbed disturbance{{.most = 777, .error = error, .every = 2}};
    CHECK(everything_arrives(left, right, 100'000));
}

TEST_CASE("messages arrive whole in a storm of signals") {
    auto [left, right] = Pipe();
    const SignalStorm storm;
    int rounds = 0;
    do {
        CHECK(everything_arrives(left, right, 8 << 20));
        ++rounds;
    } while (storm.count() < 10 && rounds < 1000);
}

TEST_CASE("a call that fails is an error that names it, and a connection is none the worse where nothing went") {
    auto [left, right] = Pipe();
    const int error = GENERATE(EIO, ENOBUFS, ENOMEM);
    {
        const Disturbed disturbance{{.error = error, .every = 1}};
        const auto sending = caught<std::system_error>([&, &end = left] { end.send(1); });
        REQUIRE(sending);
        CHECK(sending->code().value() == error);
        CHECK_THAT(sending->what(), ContainsSubstring("send"));
        const auto receiving = caught<std::system_error>([&, &end = right] { static_cast<void>(end.recv<int>()); });
        REQUIRE(receiving);
        CHECK(receiving->code().value() == error);
        CHECK_THAT(receiving->what(), ContainsSubstring("recv"));
    }
    left.send(2);
    CHECK(right.recv<int>() == 2);
}

TEST_CASE("a connection that was reset is at its end, and cannot be sent on") {
    auto [left, right] = Pipe();
    const Disturbed disturbance{{.error = ECONNRESET, .every = 1}};
    CHECK_THROWS_AS(right.recv<int>(), EndOfStream);
    const auto error = caught<std::system_error>([&, &end = left] { end.send(1); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::broken_pipe);
}

TEST_CASE("a sender killed at each byte of a message leaves an end in its middle, or the message") {
    const auto send = [](Connection& end) { end.send(std::vector<std::string>{"first", "second"}); };
    const Bytes whole = recorded(send);
    REQUIRE(whole.size() > 50);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        auto [left, right] = Pipe();
        const int end = in_a_child([&, &from = left] {
            const int descriptor = from.native_handle();
            // Each byte a call, and after the last of them SIGKILL.
            for (std::size_t i = 0; i < size; ++i)
                if (::send(descriptor, &whole[i], 1, MSG_NOSIGNAL) != 1) return 1;
            ::kill(::getpid(), SIGKILL);
            return 2;
        });
        REQUIRE(end == -SIGKILL);
        left.close();
        if (size == whole.size()) CHECK(right.recv<std::vector<std::string>>(30s).size() == 2);
        const auto error = caught<EndOfStream>([&, &to = right] { static_cast<void>(to.recv<int>(30s)); });
        REQUIRE(error);
        const bool in_the_middle = size != 0 && size != whole.size();
        CHECK((std::string(error->what()).find("middle") != std::string::npos) == in_the_middle);
    }
}

TEST_CASE("a sender killed while it sends a large message leaves an end in its middle") {
    auto [left, right] = Pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        right.close();
        try {
            left.send_bytes(Bytes(std::size_t{64} << 20));
        } catch (...) {
        }
        ::_exit(1);
    }
    left.close();
    ::pollfd item{ConnectionAccess::endpoint(right).native(), POLLIN, 0};
    CHECK(::poll(&item, 1, 30'000) == 1);  // some of it is there
    CHECK_THROWS_AS(right.recv_bytes(0ms), TimeoutError);
    ::kill(child, SIGKILL);
    const auto error = caught<EndOfStream>([&, &end = right] { static_cast<void>(end.recv_bytes(30s)); });
    ::waitpid(child, nullptr, 0);
    REQUIRE(error);
    CHECK_THAT(error->what(), ContainsSubstring("middle"));
}

TEST_CASE("a sender that waits for room learns that the receiver was killed") {
    auto [left, right] = Pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        left.close();
        for (;;) ::pause();
    }
    right.close();
    std::thread killer{[&, &end = left] {
        ::pollfd item{ConnectionAccess::endpoint(end).native(), POLLOUT, 0};
        static_cast<void>(within(30s, [&] { return ::poll(&item, 1, 0) == 0; }));  // no more room
        ::kill(child, SIGKILL);
    }};
    const auto error = caught<std::system_error>([&, &end = left] { end.send_bytes(Bytes(8 << 20)); });
    killer.join();
    ::waitpid(child, nullptr, 0);
    REQUIRE(error);
    CHECK(error->code() == std::errc::broken_pipe);
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}
