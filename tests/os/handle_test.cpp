// SPDX-License-Identifier: MIT
#include <plait/os/handle.hpp>

#include "support/catch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>
#include <utility>

using plait::os::above_standard_streams;
using plait::os::Handle;

namespace {

int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a handle closes what it owns, once") {
    const int native = open_null();
    {
        Handle handle{native};
        CHECK(handle);
        CHECK(handle.get() == native);
    }
    CHECK_FALSE(is_open(native));
    CHECK_FALSE(Handle{});
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Handle>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Handle>);
}

TEST_CASE("a handle that is moved, reset or released passes on what it owned") {
    const int first = open_null();
    const int second = open_null();
    Handle a{first};
    Handle b{std::move(a)};
    CHECK_FALSE(a);
    CHECK(b.get() == first);
    Handle c{second};
    c = std::move(b);
    CHECK_FALSE(is_open(second));
    CHECK(c.get() == first);
    Handle& itself = c;
    c = std::move(itself);
    CHECK(is_open(first));
    CHECK(c.release() == first);
    CHECK_FALSE(c);
    c.reset(first);
    c.reset();
    CHECK_FALSE(is_open(first));
}

TEST_CASE("closing changes no error code") {
    Handle bad{1 << 20};
    errno = EXDEV;
    bad.reset();
    CHECK(errno == EXDEV);
}

TEST_CASE("a descriptor among the standard streams' numbers is moved up") {
    const int saved = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
    ::close(0);
    const Handle moved = above_standard_streams(open_null());
    const bool left = is_open(0);
    ::dup2(saved, 0);
    ::close(saved);
    CHECK_FALSE(left);
    CHECK(moved.get() > 2);
    CHECK((::fcntl(moved.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_FALSE(above_standard_streams(-1));
}
