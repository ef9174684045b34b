// SPDX-License-Identifier: MIT
#include <plait/threading/detail/bound_call.hpp>

#include "support/catch.hpp"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

using namespace plait::threading::detail;

TEST_CASE("a call is made as it is where it can be, else with a token before its arguments") {
    const auto plain = [](int) {};
    const auto told = [](plait::StopToken, int) {};
    STATIC_REQUIRE(call_form<decltype(plain), int>() == CallForm::plain);
    STATIC_REQUIRE(call_form<decltype(told), int>() == CallForm::with_token);
    STATIC_REQUIRE(call_form<decltype(plain), std::string>() == CallForm::none);
#if defined(__cpp_lib_jthread)
    const auto standard = [](std::stop_token, int) {};
    STATIC_REQUIRE(call_form<decltype(standard), int>() == CallForm::with_standard_token);
#endif
}

TEST_CASE("a result is a value or a lasting reference") {
    STATIC_REQUIRE(std::is_same_v<CallResult<int& (*)()>, int&>);
    STATIC_REQUIRE(std::is_same_v<CallResult<std::string && (*)()>, std::string>);
    STATIC_REQUIRE(std::is_void_v<CallResult<void (*)()>>);
    STATIC_REQUIRE(CallableLater<void (*)(std::unique_ptr<int>), std::unique_ptr<int>>);
    STATIC_REQUIRE_FALSE(CallableLater<void (*)(int&), int&>);
}

TEST_CASE("arguments are moved into the call") {
    const auto take = [](std::unique_ptr<int> p, const std::string& text) { return text + std::to_string(*p); };
    BoundCallOf<decltype(take), std::unique_ptr<int>, const char*> call(take, std::make_unique<int>(7), "x");
    CHECK(call(plait::StopToken()) == "x7");
}

TEST_CASE("a token that is passed on tells of the same stop") {
    plait::StopSource source;
    source.request_stop();
    const auto ask = [](const plait::StopToken& stop) { return stop.stop_requested(); };
    BoundCallOf<decltype(ask)> call(ask);
    CHECK(call(source.get_token()));
#if defined(__cpp_lib_jthread)
    const auto ask_standard = [](std::stop_token stop) { return stop.stop_requested(); };
    BoundCallOf<decltype(ask_standard)> standard(ask_standard);
    CHECK(standard(source.get_token()));
#endif
}

TEST_CASE("a member function takes its token after the object") {
    struct Service {
        int run(const plait::StopToken& stop, int by) {
            stops = stop.stop_possible();
            return total += by;
        }
        bool stops = false;
        int total = 40;
    };
    Service service;
    plait::StopSource source;
    BoundCallOf<decltype(&Service::run), Service*, int> call{&Service::run, &service, 2};
    STATIC_REQUIRE(std::is_same_v<CallResult<decltype(&Service::run), Service*, int>, int>);
    CHECK(call(source.get_token()) == 42);
    CHECK(service.stops);
}
