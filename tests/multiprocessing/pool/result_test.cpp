// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/result.hpp>

#include "support/catch.hpp"

#include <plait/core/future.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using plait::CodecError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::encode;
using plait::multiprocessing::detail::CallState;
using plait::multiprocessing::detail::Engine;
using plait::multiprocessing::detail::make_state;
using plait::multiprocessing::detail::MapState;

namespace {

const std::shared_ptr<Engine> no_engine;

template <class Whole, class State>
plait::Future<Whole> future_of(const plait::detail::StatePointer<State>& state) {
    return plait::detail::future_of(plait::detail::StatePointer<plait::detail::FutureState<Whole>>(state));
}

template <class State, class T>
void succeed(State& state, std::size_t item, const T& value) {
    const auto bytes = encode(value);
    Decoder in(bytes);
    state.succeed(item, in);
}

std::exception_ptr error(const char* text) { return std::make_exception_ptr(std::runtime_error(text)); }

}  // namespace

TEST_CASE("the result of a call is decoded, all of its bytes") {
    auto state = make_state<CallState<std::string>>(no_engine);
    auto future = future_of<std::string>(state);
    CHECK(state->begin());
    succeed(*state, 0, std::string("value"));
    CHECK(future.get(0s) == "value");

    auto longer = make_state<CallState<int>>(no_engine);
    auto refused = future_of<int>(longer);
    succeed(*longer, 0, 5L);
    CHECK_THROWS_AS(refused.get(0s), CodecError);

    auto shorter = make_state<CallState<long>>(no_engine);
    auto truncated = future_of<long>(shorter);
    succeed(*shorter, 0, 5);
    CHECK_THROWS_AS(truncated.get(0s), CodecError);
}

TEST_CASE("a call that was cancelled does not begin, and one that was begun may begin again elsewhere") {
    auto cancelled = make_state<CallState<int>>(no_engine);
    auto future = future_of<int>(cancelled);
    CHECK(future.cancel());
    CHECK_FALSE(cancelled->begin());

    auto again = make_state<CallState<int>>(no_engine);
    auto other = future_of<int>(again);
    CHECK(again->begin());
    CHECK(again->begin());
    succeed(*again, 0, 1);
    CHECK_FALSE(again->begin());
    CHECK(other.get(0s) == 1);
}

TEST_CASE("a map is ready when its last item is, with the values in order") {
    auto state = make_state<MapState<int>>(no_engine);
    auto future = future_of<std::vector<int>>(state);
    state->expect(3);
    succeed(*state, 2, 30);
    succeed(*state, 0, 10);
    CHECK_FALSE(future.ready());
    succeed(*state, 1, 20);
    CHECK(future.get(0s) == std::vector{10, 20, 30});
}

TEST_CASE("a map throws the first error in the items' order, not in time's") {
    auto state = make_state<MapState<int>>(no_engine);
    auto future = future_of<std::vector<int>>(state);
    state->expect(3);
    state->fail(2, error("second"));
    state->fail(1, error("first"));
    succeed(*state, 0, 1);
    CHECK_THROWS_WITH(future.get(0s), "first");

    auto nothing = make_state<MapState<void>>(no_engine);
    auto done = future_of<void>(nothing);
    nothing->expect(2);
    nothing->fail(1, error("of void"));
    succeed(*nothing, 0, std::tuple<>{});
    CHECK_THROWS_WITH(done.get(0s), "of void");
}

TEST_CASE("a call that nobody will tell of is a broken promise") {
    auto state = make_state<MapState<int>>(no_engine);
    auto future = future_of<std::vector<int>>(state);
    state->expect(2);
    succeed(*state, 0, 1);
    state->abandon();
    CHECK_THROWS_AS(future.get(0s), plait::BrokenPromiseError);
}
