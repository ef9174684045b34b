// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/freeze_support.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using plait::UsageError;
using plait::multiprocessing::freeze_support;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::Process;
using plait::multiprocessing::StartMethod;

namespace mp = plait::multiprocessing::detail;
namespace os = plait::os;

namespace {

void do_nothing() {}

/// As a program's log that is an object of its own.
const int opened_before_main = ::open("/dev/null", O_RDONLY | O_CLOEXEC);

bool leads_to_null(int number) {
    struct ::stat file{};
    struct ::stat null{};
    return ::fstat(number, &file) == 0 && ::stat("/dev/null", &null) == 0 && file.st_rdev == null.st_rdev;
}
void look_for_handles(int foreign) {
    if (!leads_to_null(opened_before_main)) ::_exit(3);
    if (::fcntl(foreign, F_GETFD) >= 0) ::_exit(4);
}

struct Refusal {
    int status = -1;  // as waitpid tells it
    std::string text;
    std::exception_ptr told = nullptr;  // what the parent was told by the channel
};

/// Starts this program as a child of plait's is started, but with `channel` (none: -1) in place of its channel. `argument`
/// is what stands behind its name; a `program` other than this one is run by another user.
Refusal start_forged(int channel, const char* argument = mp::child_argument, const char* program = nullptr) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return {};
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::dup2(ends[1], 2);
        ::dup2(ends[1], 1);
        if (channel >= 0)
            ::dup2(channel, 3);
        else
            ::close(3);
        const char* const arguments[] = {"forged", argument, nullptr};
        constexpr ::gid_t nobody = 65534;
        if (program != nullptr && (::setgroups(0, nullptr) != 0 || ::setgid(nobody) != 0 || ::setuid(nobody) != 0))
            ::_exit(2);
        ::execv(program != nullptr ? program : "/proc/self/exe", const_cast<char* const*>(arguments));
        ::_exit(1);
    }
    ::close(ends[1]);
    Refusal refusal;
    char part[512];
    for (ssize_t count = 0; (count = ::read(ends[0], part, sizeof part)) > 0;)
        refusal.text.append(part, static_cast<std::size_t>(count));
    ::close(ends[0]);
    ::waitpid(pid, &refusal.status, 0);
    return refusal;
}

void check_refused(const Refusal& refusal, const std::string& reason) {
    CHECK(WIFEXITED(refusal.status));
    CHECK(WEXITSTATUS(refusal.status) == 125);
    CHECK_THAT(refusal.text, ContainsSubstring("refuses") && ContainsSubstring(reason));
    CHECK(std::count(refusal.text.begin(), refusal.text.end(), '\n') == 1);
}

/// As `start_fresh_child` prepares it, but with what the test makes of the job.
Refusal start_with_job(std::span<const std::byte> job) {
    const auto memory = os::SharedMapping::create(job.size());
    std::memcpy(memory.data(), job.data(), job.size());
    const os::ChannelEnds channel = os::make_channel();
    const std::byte hello[1] = {};
    const os::NativeHandle handles[] = {memory.handle().get()};
    os::send_with_handles(channel.first, hello, handles);
    Refusal refusal = start_forged(channel.second.get());
    const auto farewell = mp::Farewell::receive(channel.first);
    if (farewell && farewell->code == 125) refusal.told = farewell->exception;
    return refusal;
}

mp::Place valid_place() {
    const auto& main = mp::child_main<&mp::run_spawned_process>;
    return mp::place_of(reinterpret_cast<std::uintptr_t>(&main), sizeof main, "a main");
}

mp::JobHeader valid_header() {
    return {mp::JobHeader::magic_word, mp::JobHeader::this_layout, os::executable_image().identity(),
            plait::multiprocessing::encode(valid_place()).size(), 0};
}

Refusal start_with_header(const mp::JobHeader& header, const mp::Place& place = valid_place()) {
    const auto encoded = plait::multiprocessing::encode(place);
    std::vector<std::byte> job(sizeof header);
    std::memcpy(job.data(), &header, sizeof header);
    job.insert(job.end(), encoded.begin(), encoded.end());
    return start_with_job(job);
}

}  // namespace

TEST_CASE("freeze_support returns at once in the program, whatever its arguments are") {
    std::string name = "program";
    std::string argument = "--plait-child";
    std::string more = "more";
    char* arguments[] = {name.data(), argument.data(), more.data(), nullptr};
    freeze_support(3, arguments);
    freeze_support(1, arguments);
    freeze_support(0, arguments + 3);
    SUCCEED();
}

TEST_CASE("without freeze_support a fresh start is refused before anything is started, and a copy is not") {
    mp::freeze_support_called() = false;
    Process spawned(do_nothing);
    CHECK_THROWS_AS(spawned.start(), UsageError);
    CHECK_THROWS_AS(Pool(1), UsageError);
    CHECK(support::children().empty());
    Process copy = Process::forked(do_nothing);
    copy.start();
    copy.join();
    CHECK(copy.exitcode() == 0);
    Pool pool(PoolOptions{.processes = 1, .start_method = StartMethod::fork});
    CHECK(pool.apply([](int x) { return x; }, 3) == 3);
    mp::freeze_support_called() = true;
    spawned.start();
    spawned.join();
    CHECK(spawned.exitcode() == 0);
}

TEST_CASE("a program that is started as a child by nobody refuses, and its main does not run") {
    check_refused(start_forged(-1), "its channel");
    for (const char* const file : {"/dev/null", "/dev/zero", "/proc/self/exe", "/"}) {
        CAPTURE(file);
        const os::Handle handle{::open(file, O_RDONLY | O_CLOEXEC)};
        check_refused(start_forged(handle.get()), "its channel");
    }
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    check_refused(start_forged(ends[0]), "its channel");
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a program with raised privileges is nobody's child, whoever starts it as one") {
    const support::TemporaryFolder folder;
    const std::string program = folder.file("program");
    const std::filesystem::path place = std::filesystem::path(program).parent_path();
    struct ::statvfs system{};
    if (::geteuid() != 0 || ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) return;
    if (::statvfs(place.c_str(), &system) != 0 || (system.f_flag & ST_NOSUID) != 0) return;
    std::filesystem::copy_file("/proc/self/exe", program);
    REQUIRE(::chmod(place.c_str(), 0711) == 0);
    for (const ::mode_t raised : {::mode_t{S_ISGID}, ::mode_t{S_ISUID}}) {
        REQUIRE(::chown(program.c_str(), 1, 1) == 0);
        REQUIRE(::chmod(program.c_str(), 0755 | raised) == 0);
        check_refused(start_forged(-1, mp::child_argument, program.c_str()), "raised privileges");
    }
}

TEST_CASE("what a child opened itself before its main stays open, and nothing else that the program has is") {
    if constexpr (!os::spawn_closes_other_handles) return;
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    const int foreign = ::fcntl(opened_before_main, F_DUPFD, 50);  // handed on to what this process executes
    REQUIRE(foreign >= 50);
    Process child(plait::multiprocessing::ProcessOptions{.start_method = start_method}, look_for_handles, foreign);
    child.start();
    child.join();
    ::close(foreign);
    CHECK(child.exitcode() == 0);
}

TEST_CASE("a channel that another process than the parent made is refused") {
    // The channel is made by a child, and comes back by another channel.
    const os::ChannelEnds way = os::make_channel();
    const pid_t stranger = ::fork();
    if (stranger == 0) {
        const os::ChannelEnds made = os::make_channel();
        const std::byte hello[1] = {};
        const os::NativeHandle handles[] = {made.first.get(), made.second.get()};
        os::send_with_handles(way.second, hello, handles);
        ::_exit(0);
    }
    std::byte hello[1];
    std::vector<os::Handle> ends;
    REQUIRE(os::receive_with_handles(way.first, hello, ends));
    ::waitpid(stranger, nullptr, 0);
    REQUIRE(ends.size() == 2);
    check_refused(start_forged(ends[1].get()), "not made by its parent");
}

TEST_CASE("a channel that brings no job is refused in time") {
    const os::ChannelEnds channel = os::make_channel();
    const auto begin = std::chrono::steady_clock::now();
    check_refused(start_forged(channel.second.get()), "sent no job");
    CHECK(std::chrono::steady_clock::now() - begin < 50s);
    const std::byte hello[1] = {};
    os::send_with_handles(channel.first, hello, {});
    check_refused(start_forged(channel.second.get()), "sent no job");
}

TEST_CASE("a job that this build did not write is refused") {
    CHECK(WEXITSTATUS(start_with_header(valid_header()).status) == 125);  // no payload to decode

    const std::byte little[8] = {};
    check_refused(start_with_job(little), "too short");
    const Refusal refusal = start_with_job(little);
    REQUIRE(refusal.told != nullptr);
    CHECK_THROWS_WITH(std::rethrow_exception(refusal.told), ContainsSubstring("too short"));
    auto header = valid_header();
    header.magic ^= 1;
    check_refused(start_with_header(header), "another version");
    header = valid_header();
    header.layout ^= 1;
    check_refused(start_with_header(header), "another version");
    header = valid_header();
    header.identity[3] ^= std::byte{1};
    check_refused(start_with_header(header), "another build");
    for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        header = valid_header();
        header.payload_size = size;
        check_refused(start_with_header(header), "truncated");
        header = valid_header();
        header.place_size += size;
        check_refused(start_with_header(header), "truncated");
    }
    header = valid_header();
    header.place_size -= 1;
    check_refused(start_with_header(header), "truncated");
    for (const std::uint64_t offset : {std::uint64_t{0}, valid_place().offset + 1, valid_place().offset + 8,
                                       std::uint64_t{1} << 47, ~std::uint64_t{7}}) {
        CAPTURE(offset);
        check_refused(start_with_header(valid_header(), {offset, std::nullopt}), "names no main");
    }
}

TEST_CASE("what a child starts is no child of plait's, though its own command line says so") {
    // The argument is obeyed where it is the only one; the program that a child executes has its own.
    CHECK(Pool(1).apply([](int) { return std::system("test \"$0\" != --plait-child"); }, 0) == 0);
}
