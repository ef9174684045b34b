// SPDX-License-Identifier: MIT
#include <plait/os/system_error.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <cerrno>
#include <system_error>

using plait::os::throw_system_error;

TEST_CASE("a failed call is a system_error that names it") {
    const auto error = support::caught<std::system_error>([] {
        errno = ENOENT;
        throw_system_error("open of nothing");
    });
    REQUIRE(error);
    CHECK(error->code() == std::errc::no_such_file_or_directory);
    CHECK_THAT(error->what(), Catch::Matchers::ContainsSubstring("open of nothing"));
    const auto other = support::caught<std::system_error>([] { throw_system_error("posix_spawn", EAGAIN); });
    CHECK(other.value().code().value() == EAGAIN);
}
