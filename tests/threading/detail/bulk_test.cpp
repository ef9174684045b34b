// SPDX-License-Identifier: MIT
#include <plait/threading/detail/bulk.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace plait::threading::detail;

TEST_CASE("items that stay are used where they are, others are kept") {
    std::vector<int> vector{1, 2, 3};
    auto in_place = items_of<Lifetime::of_map>(vector);
    STATIC_REQUIRE(std::is_same_v<decltype(in_place), ItemsInPlace<int>>);
    CHECK(&in_place[2] == &vector[2]);
    CHECK(in_place.size() == 3);

    const std::list<std::string> list{"a", "b"};
    auto by_address = items_of<Lifetime::of_map>(list);
    STATIC_REQUIRE(std::is_same_v<decltype(by_address), ItemsByAddress<const std::string>>);
    CHECK(&by_address[1] == &list.back());

    auto own = items_of<Lifetime::of_call>(vector);
    STATIC_REQUIRE(std::is_same_v<decltype(own), OwnItems<int>>);
    vector[0] = 9;
    CHECK(own[0] == 1);

    const std::vector<bool> bits{true, false};
    auto own_bits = items_of<Lifetime::of_map>(bits);
    STATIC_REQUIRE(std::is_same_v<decltype(own_bits), OwnItems<bool>>);
    CHECK(own_bits[0]);
    CHECK_FALSE(own_bits[1]);
}

TEST_CASE("results are kept where neighbours do not share a byte") {
    STATIC_REQUIRE(std::is_same_v<ResultsOf<double>, PlainResults<double>>);
    STATIC_REQUIRE(std::is_same_v<ResultsOf<bool>, HeldResults<bool>>);
    STATIC_REQUIRE(std::is_same_v<ResultsOf<std::string>, HeldResults<std::string>>);
    STATIC_REQUIRE(std::is_same_v<ResultsOf<void>, NoResults>);
    HeldResults<bool> held(2);
    held.put(1, [] { return true; });
    held.put(0, [] { return false; });
    CHECK(held.take() == std::vector{false, true});
}

TEST_CASE("a bulk of a pool that has been terminated fails as a whole") {
    const auto pool = std::make_shared<PoolCore>(1);
    std::vector<int> items{1, 2, 3};
    const auto future = submit_bulk(*pool, [](int x) { return x; }, items_of<Lifetime::of_call>(items), 1);
    pool->terminate();
    CHECK_THROWS_AS(future.get(), plait::PoolTerminatedError);
    CHECK_THROWS_AS(
        submit_bulk(*pool, [](int x) { return x; }, items_of<Lifetime::of_call>(items), 1), plait::UsageError);
}

TEST_CASE("indices reach over more than their type's largest value") {
    const Indices<std::int32_t> indices{-2'000'000'000, std::size_t{4'000'000'000}};
    CHECK(indices[0] == -2'000'000'000);
    CHECK(indices[3'900'000'000U] == 1'900'000'000);
    const Indices<std::int64_t> longer{INT64_MIN, SIZE_MAX};
    CHECK(longer[SIZE_MAX] == INT64_MAX);
}
