// SPDX-License-Identifier: MIT
#include <plait/os/memory.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

using plait::os::Handle;
using plait::os::SharedMapping;

TEST_CASE("shared memory begins zeroed, and a child's writing is seen") {
    const auto memory = SharedMapping::create(10'000);
    CHECK(memory.size() == 10'000);
    CHECK(
        std::all_of(memory.bytes().begin(), memory.bytes().end(), [](std::byte byte) { return byte == std::byte{}; }));
    const pid_t child = ::fork();
    if (child == 0) {
        memory.data()[9'999] = std::byte{7};
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    CHECK(memory.data()[9'999] == std::byte{7});
}

TEST_CASE("shared memory is opened by its handle, and stays without it") {
    auto memory = SharedMapping::create(100);
    CHECK((::fcntl(memory.handle().get(), F_GETFD) & FD_CLOEXEC) != 0);
    auto same = SharedMapping::open(Handle{::fcntl(memory.handle().get(), F_DUPFD_CLOEXEC, 3)});
    CHECK(same.size() == 100);
    CHECK(same.data() != memory.data());
    same.drop_handle();
    CHECK_FALSE(same.handle());
    memory.data()[5] = std::byte{5};
    CHECK(same.data()[5] == std::byte{5});
    SharedMapping moved = std::move(memory);
    CHECK(memory.data() == nullptr);
    moved = SharedMapping{};
    CHECK(same.data()[5] == std::byte{5});
}

TEST_CASE("what is no memory cannot be opened as such") {
    CHECK_THROWS_AS(SharedMapping::open(Handle{::open("/dev/null", O_RDONLY | O_CLOEXEC)}), std::system_error);
    CHECK_THROWS_AS(SharedMapping::open(Handle{}), std::system_error);
}

TEST_CASE("memory that cannot be had is an error, and leaves nothing open") {
    const auto open = support::open_descriptors();
    {
        const support::DescriptorLimit limit{0};
        CHECK_THROWS_AS(SharedMapping::create(100), std::system_error);
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("shared memory has no name") {
    const auto memory = SharedMapping::create(100);
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
        CHECK(entry.path().filename().string().find("plait-" + std::to_string(::getpid()) + "-") == std::string::npos);
}
