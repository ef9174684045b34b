// SPDX-License-Identifier: MIT
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <span>
#include <stdexcept>
#include <streambuf>
#include <thread>
#include <vector>

// Programs that close their standard streams, take signals all the time, run out of descriptors, ignore their children's
// ends, or change their user.

namespace os = plait::os;
using namespace std::chrono_literals;
using namespace support;
using plait::detail::Deadline;

namespace {

constexpr std::byte one_byte[1] = {};

bool told(const os::Handle& end) {
    std::byte byte[1];
    return os::receive_all(end, byte);
}
void tell(const os::Handle& end) { static_cast<void>(os::send_all(end, one_byte)); }

/// Sends until no more fits; how much went.
std::size_t fill(const os::Handle& end) {
    const std::vector<std::byte> chunk(1 << 16);
    std::size_t total = 0;
    for (std::size_t went = 1; went != 0; total += went) went = os::send_some(end, chunk).count;
    return total;
}

bool standard_streams_are_closed() { return !is_open(0) && !is_open(1) && !is_open(2); }

bool is_stopped(std::int64_t pid) {
    const auto state = process_state(static_cast<int>(pid));
    return state && state->state == 'T';
}

/// A process that has the number `pid`, which is free; 0 where this user may not choose.
pid_t fork_with_number(std::int64_t pid) {
    auto chosen = static_cast<pid_t>(pid);
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = reinterpret_cast<std::uintptr_t>(&chosen);
    arguments.set_tid_size = 1;
    const long made = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (made == 0)
        for (;;) ::pause();
    return made > 0 ? static_cast<pid_t>(made) : 0;
}

/// Whether the child `pid` still ran; it is ended and reaped.
bool ran_until_now(pid_t pid) {
    const bool running = ::waitpid(pid, nullptr, WNOHANG) == 0 && is_alive(pid);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return running;
}

}  // namespace

TEST_CASE("nothing of ours takes the numbers of closed standard streams") {
    CHECK(in_a_child([] {
              const auto [sender, receiver] = os::make_channel();
              const os::NativeHandle sent[] = {sender.get(), receiver.get()};
              if (!os::send_with_handles(sender, one_byte, sent)) return 1;
              close_standard_streams();
              const auto [first, second] = os::make_channel();
              if (first.get() < 3 || second.get() < 3 || !standard_streams_are_closed()) return 2;
              const os::Waker waker;
              if (waker.handle() < 3 || !standard_streams_are_closed()) return 3;
              const auto memory = os::SharedMapping::create(64);
              if (memory.handle().get() < 3 || !standard_streams_are_closed()) return 4;
              std::vector<os::Handle> handles;
              std::byte byte[1];
              if (!os::receive_with_handles(receiver, byte, handles) || handles.size() != 2) return 5;
              for (const os::Handle& handle : handles)
                  if (handle.get() < 3 || !is_closed_on_exec(handle.get())) return 6;
              const os::Handle watched = os::watch_process(::getppid());
              if ((watched && watched.get() < 3) || !standard_streams_are_closed()) return 7;
              os::Child child = os::fork_child([] { return 0; });
              if (child.sentinel() < 3 || !standard_streams_are_closed()) return 8;
              return child.wait(Deadline::never()) ? 0 : 9;
          }) == 0);
}

TEST_CASE("a message whose handles find no room is not received") {
    const auto [first, second] = os::make_channel();
    const os::NativeHandle sent[] = {first.get(), second.get()};
    REQUIRE(os::send_with_handles(first, one_byte, sent));
    std::byte byte[1];
    std::vector<os::Handle> handles;
    bool received = true;
    {
        const DescriptorLimit limit{1};
        received = os::receive_with_handles(second, byte, handles);
    }
    CHECK_FALSE(received);
}

TEST_CASE("a message whose handle finds room only among the standard streams is not received") {
    CHECK(in_a_child([] {
              const auto [first, second] = os::make_channel();
              const os::NativeHandle sent[] = {first.get()};
              if (!os::send_with_handles(first, one_byte, sent)) return 1;
              const DescriptorLimit limit{0};
              ::close(0);
              std::byte byte[1];
              std::vector<os::Handle> handles;
              return os::receive_with_handles(second, byte, handles) || is_open(0) ? 2 : 0;
          }) == 0);
}

TEST_CASE("an end that went with unread bytes is closed to its sender, for reading too") {
    auto [first, second] = os::make_channel();
    tell(first);
    second.reset();
    std::byte byte[1];
    std::vector<os::Handle> handles;
    SECTION("by receive_some") { CHECK(os::receive_some(first, byte).closed); }
    SECTION("by receive_all") { CHECK_FALSE(os::receive_all(first, byte)); }
    SECTION("by receive_with_handles") { CHECK_FALSE(os::receive_with_handles(first, byte, handles)); }
    SECTION("by send_all") { CHECK_FALSE(os::send_all(first, byte)); }
    CHECK(handles.empty());
}

TEST_CASE("a large message arrives whole in a storm of signals") {
    const auto [first, second] = os::make_channel();
    std::vector<std::byte> sent(4 << 20);
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i * 7 + i / 251);
    std::vector<std::byte> received(sent.size());
    bool all_sent = false;
    const SignalStorm storm;
    std::thread sender{[&, &from = first] { all_sent = os::send_all(from, sent); }};
    // One byte first: the sender is interrupted where it waits for room.
    const bool begun = os::receive_all(second, std::span{received}.first(1));
    while (storm.count() < 10) std::this_thread::yield();
    const bool all_received = begun && os::receive_all(second, std::span{received}.subspan(1));
    sender.join();
    CHECK(all_sent);
    CHECK(all_received);
    CHECK(received == sent);
}

TEST_CASE("a message with handles waits for room in a storm of signals") {
    const auto [first, second] = os::make_channel();
    std::vector<std::byte> buffer(fill(first));
    bool sent = false;
    const SignalStorm storm;
    std::thread sender{[&, &from = first] {
        const os::NativeHandle handles[] = {from.get()};
        sent = os::send_with_handles(from, one_byte, handles);
    }};
    while (storm.count() < 10) std::this_thread::yield();
    const bool drained = os::receive_all(second, buffer);
    std::vector<os::Handle> handles;
    const bool received = os::receive_with_handles(second, std::span{buffer}.first(1), handles);
    sender.join();
    CHECK(sent);
    CHECK(drained);
    CHECK(received);
    CHECK(handles.size() == 1);
}

TEST_CASE("a storm of signals neither ends nor lengthens a wait for room, for bytes, or for a child") {
    const auto [first, second] = os::make_channel();
    fill(first);
    auto words = os::make_channel();
    os::Child child = os::fork_child([&] {
        words.first.reset();
        return told(words.second) ? 6 : 7;
    });
    std::byte byte[1];
    const SignalStorm storm;
    const auto before = std::chrono::steady_clock::now();
    CHECK_FALSE(os::send_all(first, byte, Deadline{20ms}));
    CHECK_FALSE(os::receive_all(first, byte, Deadline{20ms}));
    CHECK_FALSE(child.wait(Deadline{20ms}));
    CHECK(std::chrono::steady_clock::now() - before >= 60ms);
    CHECK(storm.count() > 0);
    tell(words.first);
    CHECK(child.wait(Deadline::never()));
    CHECK(child.status().code == 6);
}

TEST_CASE("shared memory is made in a storm of signals") {
    const SignalStorm storm;
    do {
        const auto memory = os::SharedMapping::create(16 << 20);
        CHECK(memory.size() == 16 << 20);
    } while (storm.count() < 5);
}

TEST_CASE("a channel that another process made and sent is known as that one's") {
    const auto channel = os::make_channel();
    CHECK(in_a_child([&] {
              const auto own = os::make_channel();
              const os::NativeHandle sent[] = {own.first.get()};
              const pid_t self = ::getpid();
              return os::send_with_handles(channel.second, std::as_bytes(std::span{&self, 1}), sent) ? 0 : 1;
          }) == 0);
    pid_t maker = 0;
    std::vector<os::Handle> handles;
    REQUIRE(os::receive_with_handles(channel.first, std::as_writable_bytes(std::span{&maker, 1}), handles));
    REQUIRE(handles.size() == 1);
    CHECK(os::peer_is(handles[0], maker));
    CHECK_FALSE(os::peer_is(handles[0], ::getpid()));
}

TEST_CASE("a channel of the right process but another user is not its own") {
    if (::geteuid() != 0) return;  // nobody else can become another user
    CHECK(in_a_child([] {
              const auto channel = os::make_channel();
              if (!os::peer_is(channel.first, ::getpid())) return 1;
              if (::seteuid(65534) != 0) return 2;
              return os::peer_is(channel.first, ::getpid()) ? 3 : 0;
          }) == 0);
}

TEST_CASE("a stopped child has not ended") {
    os::Child child = os::fork_child([] { return run_for_ever(0); });
    child.send_signal(SIGSTOP);
    REQUIRE(within(30s, [&] { return is_stopped(child.pid()); }));
    CHECK_FALSE(child.reap());
    CHECK_FALSE(child.wait(Deadline{10ms}));
    child.send_signal(SIGKILL);
    CHECK(child.wait(Deadline::never()));
    CHECK(child.status().code == -SIGKILL);
}

TEST_CASE("a stopped child is no death to a reaper, and a death before its wait is not slept over") {
    CHECK(in_a_child([] {
              os::ChildReaper reaper;
              os::Child child = os::fork_child([] { return run_for_ever(0); });
              child.send_signal(SIGSTOP);
              if (!within(30s, [&] { return is_stopped(child.pid()); })) return 1;
              if (reaper.reap([](std::int64_t) {})) return 2;
              child.send_signal(SIGKILL);
              if (!within(30s, [&] { return is_zombie(static_cast<int>(child.pid())); })) return 3;
              reaper.wait({}, Deadline::never());
              bool was_zombie = false;
              const auto reaped = reaper.reap([&](std::int64_t pid) { was_zombie = is_zombie(static_cast<int>(pid)); });
              return reaped && was_zombie && reaped->status.code == -SIGKILL ? 0 : 4;
          }) == 0);
}

TEST_CASE("a reaper outlives a hang-up, and its children hear of one as before") {
    CHECK(in_a_child([] {
              ::signal(SIGHUP, SIG_DFL);
              const os::ChildReaper reaper;
              ::raise(SIGHUP);
              os::Child child = os::fork_child([&] {
                  reaper.undo();
                  ::raise(SIGHUP);
                  return 0;
              });
              if (!child.wait(Deadline{30s})) return 1;
              return child.status().code == -SIGHUP ? 0 : 2;
          }) == 0);
}

TEST_CASE("a stopped child that does not lead a group yet hears its signal") {
    const auto words = os::make_channel();
    os::Child child = os::fork_child([&] {
        os::end_when_asked();
        tell(words.second);
        return run_for_ever(0);
    });
    REQUIRE(told(words.first));
    child.send_signal(SIGSTOP);
    REQUIRE(within(30s, [&] { return is_stopped(child.pid()); }));
    os::signal_process_group(child.pid(), SIGTERM);
    const bool heard = child.wait(Deadline{30s});
    if (!heard) child.send_signal(SIGKILL);
    CHECK(heard);
    CHECK(child.wait(Deadline::never()));
}

TEST_CASE("nobody else's child is reaped") {
    CHECK(in_a_child([] {
              const pid_t other = ::fork();
              if (other == 0) ::_exit(5);
              if (!within(30s, [&] { return is_zombie(other); })) return 1;
              os::Child child = os::fork_child([] { return 0; });
              if (!child.wait(Deadline::never())) return 2;
              int status = 0;
              return ::waitpid(other, &status, 0) == other && WEXITSTATUS(status) == 5 ? 0 : 3;
          }) == 0);
}

TEST_CASE("a child's number is not signalled after its end, whoever has it then") {
    CHECK(in_a_child([] {
              os::Child child = os::fork_child([] { return 0; });
              if (!child.wait(Deadline::never())) return 1;
              const pid_t other = fork_with_number(child.pid());
              child.send_signal(SIGKILL);
              return other == 0 || ran_until_now(other) ? 0 : 2;
          }) == 0);
}

TEST_CASE("where children are held by more than their number, one that the host reaped is not signalled") {
    if (!os::children_die_with_parent) return;  // the system that has one has both
    CHECK(in_a_child([] {
              os::Child child = os::fork_child([] { return 0; });
              ::waitpid(-1, nullptr, 0);
              const pid_t other = fork_with_number(child.pid());
              child.send_signal(SIGKILL);
              if (other != 0 && !ran_until_now(other)) return 1;
              return child.wait(Deadline::never()) ? 0 : 2;
          }) == 0);
}

TEST_CASE("an interrupt that a program ignores is ignored in what is executed too") {
    CHECK(in_a_child([] {
              ::signal(SIGINT, SIG_IGN);
              os::take_no_notice_of_interrupt();
              ::raise(SIGINT);
              ::execl("/bin/sh", "sh", "-c", "kill -INT $$; exit 7", static_cast<char*>(nullptr));
              return 1;
          }) == 7);
}

TEST_CASE("a stream buffer that throws keeps no other stream from its flush") {
    struct Failing : std::streambuf {
        int sync() override { throw std::runtime_error("no room"); }
    } failing;
    struct Counting : std::streambuf {
        int syncs = 0;
        int sync() override {
            ++syncs;
            return 0;
        }
    } counting;
    std::streambuf* const out = std::cout.rdbuf(&failing);
    std::streambuf* const log = std::clog.rdbuf(&counting);
    os::flush_standard_streams();
    std::cout.rdbuf(out);
    std::clog.rdbuf(log);
    CHECK(counting.syncs == 1);
}
