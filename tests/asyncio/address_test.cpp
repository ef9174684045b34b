// SPDX-License-Identifier: MIT
#include <plait/asyncio/address.hpp>

#include "support/catch.hpp"

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

using plait::asyncio::Address;
using namespace std::string_view_literals;

TEST_CASE("an address tells its parts") {
    const Address four("127.0.0.1", 80);
    CHECK(four);
    CHECK(four.host() == "127.0.0.1");
    CHECK(four.port() == 80);
    CHECK(four.path().empty());
    CHECK(four.to_string() == "127.0.0.1:80");
    CHECK(Address("::1", 65535).to_string() == "[::1]:65535");
    const Address path = Address::local("/run/socket");
    CHECK(path.path() == "/run/socket");
    CHECK(path.host().empty());
    CHECK(path.port() == 0);
    CHECK(Address::local("\0name"sv).path() == "\0name"sv);
    CHECK(Address::local("\0name"sv).to_string() == "@name");
    std::ostringstream text;
    text << four << ' ' << path;
    CHECK(text.str() == "127.0.0.1:80 /run/socket");
}

TEST_CASE("a default-constructed address is none") {
    const Address none;
    CHECK_FALSE(none);
    CHECK(none.to_string().empty());
    CHECK(none.host().empty());
    CHECK(none.path().empty());
    CHECK(none == Address());
    CHECK(none != Address("127.0.0.1", 0));
    CHECK(Address("::1", 1) == Address("0:0::1", 1));
}

TEST_CASE("what is no address is refused") {
    CHECK_THROWS_AS(Address("localhost", 80), std::invalid_argument);
    CHECK_THROWS_AS(Address("", 80), std::invalid_argument);
    CHECK_THROWS_AS(Address("127.0.0.1", -1), std::invalid_argument);
    CHECK_THROWS_AS(Address("127.0.0.1", 65536), std::invalid_argument);
    CHECK_THROWS_AS(Address::local(""), std::invalid_argument);
    CHECK_THROWS_AS(Address::local(std::string(200, 'x')), std::system_error);
}

TEST_CASE("an address may stand in an awaiting expression of any compiler") {
    STATIC_REQUIRE(std::is_trivially_destructible_v<Address>);
    STATIC_REQUIRE_FALSE(std::is_aggregate_v<Address>);
}
