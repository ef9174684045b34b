// SPDX-License-Identifier: MIT
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/image.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/process.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"
#include "support/process_state.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

// What a fresh start of this program finds: it runs a hidden case of these tests by its name.

namespace os = plait::os;
using namespace support;
using plait::detail::Deadline;

namespace {

/// What a fresh start of this program, made with `options`, tells of itself.
struct FreshStart {
    std::string report;
    os::ExitStatus status;

    explicit FreshStart(const os::SpawnOptions& options = {}) {
        auto channel = os::make_channel();
        const std::string arguments[] = {"a fresh start tells of itself"};
        os::Child child = os::spawn_self(arguments, channel.second, options);
        channel.second.reset();
        char letter = 0;
        while (os::receive_all(channel.first, std::as_writable_bytes(std::span{&letter, 1}))) report += letter;
        child.wait(Deadline::never());
        status = child.status();
    }
    [[nodiscard]] bool has(const std::string& line) const {
        return ("\n" + report).find("\n" + line + "\n") != std::string::npos;
    }
};

std::string text_of_identity() {
    std::string text;
    for (const std::byte byte : os::executable_image().identity()) text += std::to_string(static_cast<int>(byte)) + ".";
    return text;
}

}  // namespace

TEST_CASE("a fresh start tells of itself", "[.]") {
    const os::Handle channel = os::inherited_handle(os::first_inherited);
    std::string report;
    int descriptors = 0;
    for (const Descriptor& descriptor : open_descriptors()) {
        report += "descriptor " + std::to_string(descriptor.number) + "\n";
        ++descriptors;
    }
    report += "descriptors: " + std::to_string(descriptors) + "\n";
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    for (const int number : {SIGUSR1, SIGUSR2})
        report += (::sigismember(&mask, number) == 1 ? "blocked " : "open ") + std::to_string(number) + "\n";
    for (char** entry = ::environ; *entry != nullptr; ++entry)
        if (std::string{*entry}.starts_with("PLAIT_TEST_OS")) report += std::string{*entry} + "\n";
    report += "identity " + text_of_identity() + "\n";
    report += "name " + os::program_name() + "\n";
    report += "parent " + std::to_string(os::parent_process_id()) + "\n";
    static_cast<void>(os::send_all(channel, std::as_bytes(std::span{report})));
    os::exit_immediately(7);
}

TEST_CASE("a fresh start is this program, its channel is handle 3, and its end is seen") {
    const FreshStart start;
    CHECK(start.status.known);
    CHECK(start.status.code == 7);
    CHECK(start.has("identity " + text_of_identity()));
    CHECK(start.has("name " + os::program_name()));
    CHECK(start.has("parent " + std::to_string(os::process_id())));
}

TEST_CASE("a fresh start inherits nothing else of ours") {
    const auto channel = os::make_channel();
    const os::Waker waker;
    const auto memory = os::SharedMapping::create(64);
    os::Child other = os::fork_child([] { return 0; });
    std::vector<int> expected;
    for (int number = 0; number < os::inherited_handles(); ++number) expected.push_back(os::first_inherited + number);
    for (const Descriptor& descriptor : open_descriptors()) {
        const int number = descriptor.number;
        const bool listed = std::find(expected.begin(), expected.end(), number) != expected.end();
        // The host's own, but for where they can be closed.
        if (!listed && is_open(number) && !is_closed_on_exec(number) && (!os::spawn_closes_other_handles || number < 3))
            expected.push_back(number);
    }
    const FreshStart start;
    CHECK(start.has("descriptors: " + std::to_string(expected.size())));
    for (const int number : expected) CHECK(start.has("descriptor " + std::to_string(number)));
    CHECK(other.wait(Deadline::never()));
}

TEST_CASE("a fresh start finds its channel though handles of ours have the numbers it is to get") {
    for (const bool first : {true, false})
        CHECK(in_a_child([&] {
                  os::close_handles_from(3);
                  auto channel = os::make_channel();
                  if (channel.first.get() != 3 || channel.second.get() != 4) return 1;
                  os::Handle& given = first ? channel.first : channel.second;
                  const os::Handle& own = first ? channel.second : channel.first;
                  const std::string arguments[] = {"a fresh start tells of itself"};
                  os::Child child = os::spawn_self(arguments, given, {});
                  given.reset();
                  std::byte byte[1];
                  if (!os::receive_all(own, byte)) return 2;
                  while (os::receive_all(own, byte)) {
                  }
                  return child.wait(Deadline::never()) && child.status().code == 7 ? 0 : 3;
              }) == 0);
}

TEST_CASE("a program without standard streams starts itself anew all the same") {
    CHECK(in_a_child([] {
              close_standard_streams();
              const FreshStart start;
              return start.status.code == 7 && start.has("descriptor 3") ? 0 : 1;
          }) == 0);
}

TEST_CASE("a fresh start has the signal mask that was asked for, else the calling thread's") {
    const std::string usr1 = std::to_string(SIGUSR1);
    const std::string usr2 = std::to_string(SIGUSR2);
    const os::SignalMask before = os::SignalMask::current();
    os::SignalMask wanted;
    ::sigemptyset(&wanted.native);
    ::sigaddset(&wanted.native, SIGUSR1);
    os::SignalMask own;
    ::sigemptyset(&own.native);
    ::sigaddset(&own.native, SIGUSR2);
    own.apply();
    os::SpawnOptions options;
    options.signal_mask = &wanted;
    const FreshStart by_mask{options};
    const FreshStart by_thread;
    before.apply();
    CHECK(by_mask.has("blocked " + usr1));
    CHECK(by_mask.has("open " + usr2));
    CHECK(by_thread.has("open " + usr1));
    CHECK(by_thread.has("blocked " + usr2));
}

TEST_CASE("a fresh start's environment is this one's with what was asked for over it") {
    ::setenv("PLAIT_TEST_OS", "old", 1);
    ::setenv("PLAIT_TEST_OS_KEPT", "kept", 1);
    os::SpawnOptions options;
    options.environment = {"PLAIT_TEST_OS=new", "PLAIT_TEST_OS_ADDED=a=b"};
    const FreshStart start{options};
    CHECK(start.has("PLAIT_TEST_OS=new"));
    CHECK_FALSE(start.has("PLAIT_TEST_OS=old"));
    CHECK(start.has("PLAIT_TEST_OS_KEPT=kept"));
    CHECK(start.has("PLAIT_TEST_OS_ADDED=a=b"));
    CHECK(std::string{std::getenv("PLAIT_TEST_OS")} == "old");
    ::unsetenv("PLAIT_TEST_OS");
    ::unsetenv("PLAIT_TEST_OS_KEPT");
}
