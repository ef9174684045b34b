// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/shared_memory.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/process.hpp>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using plait::CodecError;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::SharedMemory;
using plait::multiprocessing::StartMethod;

namespace {

/// Takes the name back, whatever becomes of the test.
struct Name {
    explicit Name(const std::string& purpose)
        : text{"plait-test-" + std::to_string(::getpid()) + "-" + purpose}, file{"/dev/shm/" + text} {}
    Name(const Name&) = delete;
    Name& operator=(const Name&) = delete;
    ~Name() { ::shm_unlink(("/" + text).c_str()); }

    std::string text;
    std::string file;
};

void write_seven(SharedMemory memory, std::size_t place) { memory.buf()[place] = std::byte{7}; }
void hand_on(SharedMemory memory) {
    Process grandchild(write_seven, memory, std::size_t{5});
    grandchild.start();
    grandchild.join();
}

bool is_zeroed(const SharedMemory& memory) {
    return std::ranges::all_of(memory.buf(), [](std::byte byte) { return byte == std::byte{}; });
}

}  // namespace

TEST_CASE("shared memory is zeroed, of the size asked for, and the same for its copies") {
    const SharedMemory memory(10'001);
    CHECK(memory.size() == 10'001);
    CHECK(memory.buf().size() == 10'001);
    CHECK(is_zeroed(memory));
    CHECK(memory.name().empty());
    const SharedMemory copy = memory;
    copy.data()[10'000] = std::byte{3};
    CHECK(memory.buf()[10'000] == std::byte{3});
    CHECK(copy == memory);
    CHECK_FALSE(copy == SharedMemory(10'001));
}

TEST_CASE("shared memory goes to a process by every start method, and on to its child") {
    const auto method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const SharedMemory memory(4'096);
    Process child(ProcessOptions{.start_method = method}, write_seven, memory, std::size_t{4'095});
    child.start();
    child.join();
    CHECK(memory.buf()[4'095] == std::byte{7});
    Process parent(ProcessOptions{.start_method = method}, hand_on, memory);
    parent.start();
    parent.join();
    CHECK(memory.buf()[5] == std::byte{7});
}

TEST_CASE("shared memory of no bytes, and one larger than there is, are errors that leave nothing open") {
    const auto open = support::open_descriptors();
    CHECK_THROWS_AS(SharedMemory(0), std::invalid_argument);
    CHECK_THROWS_AS(SharedMemory(std::size_t{1} << 50), std::system_error);
    CHECK_THROWS_AS(SharedMemory(SIZE_MAX / 2), std::system_error);
    {
        const support::DescriptorLimit limit{0};
        CHECK_THROWS_AS(SharedMemory(100), std::system_error);
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("where files are limited in size shared memory is an error, and not a signal") {
    const int code = support::in_a_child([] {
        const rlimit limit{100'000, 100'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const SharedMemory fits(90'000);
        try {
            const SharedMemory memory(200'000);
        } catch (const std::system_error& error) {
            return error.code().value() == EFBIG ? 1 : 2;
        }
        return 3;
    });
    CHECK(code == 1);
}

TEST_CASE("shared memory with a name is opened by it, until the name is taken back") {
    const Name name{"open"};
    SharedMemory memory = SharedMemory::create(name.text, 1'000);
    CHECK(memory.name() == name.text);
    memory.buf()[999] = std::byte{9};
    SharedMemory same = SharedMemory::open(name.text);
    CHECK(same.size() == 1'000);
    CHECK(same.buf()[999] == std::byte{9});
    CHECK(same == memory);

    struct stat status{};
    REQUIRE(::stat(name.file.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);

    memory.close();
    CHECK(SharedMemory::open(name.text).buf()[999] == std::byte{9});
    memory.unlink();  // after close, as Python's manual does it
    CHECK_THROWS_AS(SharedMemory::open(name.text), std::system_error);
    CHECK_THROWS_AS(same.unlink(), std::system_error);
    CHECK(same.buf()[999] == std::byte{9});
}

TEST_CASE("a name that is taken is not taken over, and one of no memory is not opened") {
    const Name name{"taken"};
    const SharedMemory memory = SharedMemory::create(name.text, 10);
    memory.buf()[0] = std::byte{1};
    CHECK_THROWS_AS(SharedMemory::create(name.text, 10), std::system_error);
    CHECK(memory.buf()[0] == std::byte{1});
    CHECK(std::filesystem::exists(name.file));
    CHECK_THROWS_AS(SharedMemory::open(name.text + "-not"), std::system_error);
}

TEST_CASE("shared memory that is too large leaves no name") {
    const Name name{"too-large"};
    CHECK_THROWS_AS(SharedMemory::create(name.text, std::size_t{1} << 50), std::system_error);
    CHECK_FALSE(std::filesystem::exists(name.file));
}

TEST_CASE("a name that leads elsewhere is refused") {
    using namespace std::string_literals;
    const auto name = GENERATE("", ".", "..", "/name", "a/b", "../passwd");
    CHECK_THROWS_AS(SharedMemory::create(name, 10), std::invalid_argument);
    CHECK_THROWS_AS(SharedMemory::open(name), std::invalid_argument);
    CHECK_THROWS_AS(SharedMemory::create("a\0b"s, 10), std::invalid_argument);
    CHECK_THROWS_AS(SharedMemory::create(std::string(251, 'x'), 10), std::invalid_argument);
}

TEST_CASE("a handle that was closed says so, and the others go on") {
    SharedMemory memory(10);
    const SharedMemory copy = memory;
    memory.close();
    memory.close();
    CHECK_THROWS_AS(memory.size(), UsageError);
    CHECK_THROWS_AS(memory.data(), UsageError);
    CHECK_THROWS_AS(memory.buf(), UsageError);
    CHECK_THROWS_AS(memory.unlink(), UsageError);
    CHECK(memory.name().empty());
    CHECK(copy.size() == 10);
    CHECK_THROWS_AS(copy.unlink(), UsageError);  // it has no name
}

TEST_CASE("shared memory is no mere bytes") {
    const SharedMemory memory(10);
    CHECK_THROWS_AS(plait::multiprocessing::encode(memory), CodecError);
    STATIC_REQUIRE(plait::multiprocessing::detail::carries_handles<std::vector<SharedMemory>>());
}

TEST_CASE("memory that is being made under a name is not there before it is whole") {
    const Name name{"in-the-making"};
    const std::size_t size = 1 << 20;
    std::atomic<bool> over{false};
    int wrong = 0;
    std::thread opener([&] {
        while (!over) try {
                const SharedMemory memory = SharedMemory::open(name.text);
                if (memory.size() != size) ++wrong;
            } catch (const std::system_error& error) {
                if (error.code().value() != ENOENT) ++wrong;
            }
    });
    for (int round = 0; round < 300; ++round) SharedMemory::create(name.text, size).unlink();
    over = true;
    opener.join();
    CHECK(wrong == 0);
}
