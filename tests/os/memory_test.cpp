// SPDX-License-Identifier: MIT
#include <plait/os/memory.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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

TEST_CASE("more memory than there is, or than the process may have, is an error and not a death") {
    CHECK_THROWS_AS(SharedMapping::create(std::size_t{1} << 50), std::system_error);
    CHECK_THROWS_AS(SharedMapping::create(SIZE_MAX), std::system_error);
    const int code = support::in_a_child([] {
        const rlimit limit{4'096, 4'096};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const Handle memory = plait::os::make_anonymous_memory();
        int refused = 0;
        try {
            plait::os::set_memory_size(memory, 4'097);
        } catch (const std::system_error&) {
            ++refused;
        }
        try {
            plait::os::allocate_memory(memory, 4'096, 1);
        } catch (const std::system_error&) {
            ++refused;
        }
        plait::os::allocate_memory(memory, 0, 4'096);
        return refused;
    });
    CHECK(code == 2);
}

TEST_CASE("memory that grows is mapped part by part, given back, and there again") {
    const Handle memory = plait::os::make_anonymous_memory();
    const auto pages = [&] {
        struct stat status{};
        ::fstat(memory.get(), &status);
        return status.st_blocks * 512;
    };
    plait::os::set_memory_size(memory, 1'048'576);
    CHECK(plait::os::memory_size(memory) == 1'048'576);
    CHECK(pages() == 0);
    plait::os::allocate_memory(memory, 524'288, 65'536);
    CHECK(pages() == 65'536);
    plait::os::MemoryView view{memory, 524'288, 65'536};
    plait::os::MemoryView same{memory, 524'288, 65'536};
    CHECK(view.size() == 65'536);
    view.data()[65'535] = std::byte{7};
    CHECK(same.data()[65'535] == std::byte{7});
    if (plait::os::gives_memory_back) {
        plait::os::release_memory(memory, 524'288, 65'536);
        CHECK(pages() == 0);
        plait::os::allocate_memory(memory, 524'288, 65'536);
        CHECK(same.data()[65'535] == std::byte{});
    }
    plait::os::MemoryView moved{std::move(view)};
    CHECK(view.data() == nullptr);
    std::byte* const address = moved.release();
    moved = plait::os::MemoryView::adopt(address, 65'536);
    CHECK(moved.data() == address);
    CHECK_THROWS_AS(plait::os::MemoryView(Handle{}, 0, 4'096), std::system_error);
}

TEST_CASE("shared memory with a name is this user's alone, and opened until the name is removed") {
    const std::string name = "plait-test-" + std::to_string(::getpid());
    const auto memory = SharedMapping::create_named(name, 100);
    CHECK_THROWS_AS(SharedMapping::create_named(name, 100), std::system_error);
    const auto same = SharedMapping::open(plait::os::open_memory_name(name));
    CHECK(same.size() == 100);
    CHECK(SharedMapping::identity_of(same.handle()) == SharedMapping::identity_of(memory.handle()));
    CHECK(support::is_closed_on_exec(same.handle().get()));
    struct stat status{};
    ::fstat(same.handle().get(), &status);
    CHECK((status.st_mode & 0777) == 0600);
    plait::os::remove_memory_name(name);
    CHECK_THROWS_AS(plait::os::open_memory_name(name), std::system_error);
    CHECK_THROWS_AS(plait::os::remove_memory_name(name), std::system_error);
}

TEST_CASE("shared memory has no name") {
    const auto memory = SharedMapping::create(100);
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
        CHECK(entry.path().filename().string().find("plait-" + std::to_string(::getpid()) + "-") == std::string::npos);
}
