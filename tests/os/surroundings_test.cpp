// SPDX-License-Identifier: MIT
#include <plait/os/surroundings.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

// What a process has from the one that made it, taken here and given there.

namespace os = plait::os;
using namespace support;

namespace {

os::Surroundings now() { return os::Surroundings::current(os::own_status()); }
bool same(const os::Surroundings& left, const os::Surroundings& right) {
    return std::memcmp(&left, &right, sizeof left) == 0;
}
std::string standing() { return os::current_standing(os::own_status()); }

}  // namespace

TEST_CASE("surroundings that were changed are as before when they are applied again") {
    CHECK(in_a_child([] {
              struct ::rlimit limit{200, 300};
              if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
              ::signal(SIGUSR1, SIG_IGN);
              sigset_t blocked;
              ::sigemptyset(&blocked);
              ::sigaddset(&blocked, SIGUSR2);
              ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
              ::umask(027);
              const os::Surroundings before = now();
              if (before.file_mask != 027) return 2;

              ::umask(0);
              limit = {100, 300};
              ::setrlimit(RLIMIT_NOFILE, &limit);
              ::signal(SIGUSR1, SIG_DFL);
              ::signal(SIGINT, SIG_IGN);
              ::setpgid(0, 0);
              ::sigemptyset(&blocked);
              ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
              if (same(now(), before)) return 3;
              before.apply();
              before.apply_signal_mask();
              return same(now(), before) ? 0 : 4;
          }) == 0);
}

TEST_CASE("a signal's handler is no ignorance, and stays") {
    CHECK(in_a_child([] {
              const os::Surroundings before = now();
              ::signal(SIGUSR1, [](int) { ::_exit(7); });
              if (now().ignored != before.ignored) return 1;
              before.apply();
              ::raise(SIGUSR1);
              return 2;
          }) == 7);
}

TEST_CASE("surroundings that a process may not have are an error") {
    CHECK(in_a_child([] {
              if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
              os::Surroundings wanted = now();
              for (auto& limit : wanted.limits) limit = {~std::uint64_t{0}, ~std::uint64_t{0}};
              const struct ::rlimit low{100, 100};
              if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return 2;
              return caught<std::system_error>([&] { wanted.apply(); }) ? 0 : 3;
          }) == 0);
}

TEST_CASE("surroundings are within others unless they are nicer to themselves or may have more") {
    const os::Surroundings here = now();
    REQUIRE(here.limit_count > 0);
    CHECK(here.are_within(here));
    os::Surroundings other = here;
    ++other.nice;
    other.limits[0].hard -= 1;
    other.limits[0].soft = 0;
    other.file_mask ^= 1;
    CHECK(other.are_within(here));
    other = here;
    --other.nice;
    CHECK_FALSE(other.are_within(here));
    other = here;
    os::Surroundings less = here;
    less.limits[here.limit_count - 1].hard = 0;
    other.limits[here.limit_count - 1].hard = 1;
    CHECK_FALSE(other.are_within(less));
}

TEST_CASE("bytes of any kind are surroundings that can be refused, never more") {
    CHECK(in_a_child([] {
              for (const int fill : {0xFF, 0x7F, 0x80, 0x01}) {
                  os::Surroundings wanted{};
                  std::memset(static_cast<void*>(&wanted), fill, sizeof wanted);
                  wanted.process_group = 0;
                  try {
                      wanted.apply();
                  } catch (const std::system_error&) {
                      continue;
                  }
              }
              return 0;
          }) == 0);
}

TEST_CASE("a standing is the same until it changes") {
    const std::string before = standing();
    CHECK(standing() == before);
    CHECK(in_a_child([&] { return standing() == before ? 0 : 1; }) == 0);
    CHECK(in_a_child([&] {
              ::setsid();
              return standing() != before ? 0 : 1;
          }) == 0);
    if (::geteuid() != 0) return;
    CHECK(in_a_child([&] { return ::seteuid(65534) == 0 && standing() != before ? 0 : 1; }) == 0);
    CHECK(in_a_child([&] { return ::setgid(65534) == 0 && standing() != before ? 0 : 1; }) == 0);
}

TEST_CASE("without descriptors a standing is an error, and not another one") {
    const std::string before = standing();
    for (unsigned more = 0; more < 2; ++more) {
        const DescriptorLimit limit{more};
        std::string after = before;
        const auto error = caught<std::system_error>([&] { after = standing(); });
        CHECK((error ? error->code().value() == EMFILE : after == before));
    }
}

TEST_CASE("an environment is handed over byte by byte, with what is put over it") {
    CHECK(in_a_child([] {
              ::setenv("PLAIT_TEST_OLD", "old", 1);
              ::setenv("PLAIT_TEST_KEPT", "a=b\n", 1);
              ::setenv("PLAIT_TEST_OLDER", "prefix", 1);
              const std::vector<std::string> over{"PLAIT_TEST_OLD=new", "PLAIT_TEST_ADDED="};
              const std::string block = os::environment_block(over);
              ::clearenv();
              os::replace_environment(block);
              const auto is = [](const char* name, const std::string& value) {
                  const char* const found = std::getenv(name);
                  return found != nullptr && found == value;
              };
              if (!is("PLAIT_TEST_OLD", "new") || !is("PLAIT_TEST_KEPT", "a=b\n")) return 1;
              if (!is("PLAIT_TEST_OLDER", "prefix") || !is("PLAIT_TEST_ADDED", "")) return 2;
              ::setenv("PLAIT_TEST_LATER", "later", 1);
              ::unsetenv("PLAIT_TEST_OLD");
              if (!is("PLAIT_TEST_LATER", "later") || std::getenv("PLAIT_TEST_OLD") != nullptr) return 3;
              os::replace_environment({});
              if (*::environ != nullptr) return 4;
              os::replace_environment("PLAIT_TEST_UNFINISHED=x");
              return is("PLAIT_TEST_UNFINISHED", "x") ? 0 : 5;
          }) == 0);
}

TEST_CASE("a working directory is entered by its handle, though it has no name any more") {
    TemporaryFolder folder;
    CHECK(in_a_child([&] {
              const std::string inner = folder.file("inner");
              struct ::stat before{};
              struct ::stat after{};
              if (::mkdir(inner.c_str(), 0700) != 0 || ::chdir(inner.c_str()) != 0 || ::stat(".", &before) != 0)
                  return 1;
              const os::Handle directory = os::open_working_directory();
              if (::chdir("/") != 0 || ::rmdir(inner.c_str()) != 0) return 2;
              os::enter_directory(directory);
              return ::stat(".", &after) == 0 && before.st_ino == after.st_ino ? 0 : 3;
          }) == 0);
    CHECK(caught<std::system_error>([] { os::enter_directory(os::Handle{}); }));
}

TEST_CASE("a standard stream is inherited unless it is closed, or to be closed") {
    CHECK(in_a_child([] {
              const bool third = is_open(3);
              os::replace_standard_stream(0, os::Handle::none);
              if (!os::standard_stream_is_inherited(0)) return 1;
              char byte = 0;
              if (::read(0, &byte, 1) != 0) return 2;
              ::fcntl(0, F_SETFD, FD_CLOEXEC);
              if (os::standard_stream_is_inherited(0)) return 3;
              close_standard_streams();
              if (os::standard_stream_is_inherited(1)) return 4;
              for (int number = 0; number <= 2; ++number) os::replace_standard_stream(number, os::Handle::none);
              return ::write(1, "x", 1) == 1 && ::write(2, "x", 1) == 1 && is_open(3) == third ? 0 : 5;
          }) == 0);
}
