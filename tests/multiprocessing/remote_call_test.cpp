// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/remote_call.hpp>

#include "support/catch.hpp"
#include "support/library.hpp"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::UsageError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;

namespace mp = plait::multiprocessing;
namespace detail = plait::multiprocessing::detail;

namespace {

int twice(int x) { return 2 * x; }
int thrice(int x) noexcept { return 3 * x; }
std::string glue(const std::string& a, std::string&& b, double c) {
    return a + b + std::to_string(static_cast<int>(c));
}
void fail(int) { throw std::range_error("failed"); }

struct Adder {
    int summand = 0;
    int operator()(int x) const { return x + summand; }
};

/// The whole way of a call, in one process: written as a sender writes it, and run as a receiver runs it.
template <class F, class... Args>
auto call(const F& f, Args&&... args) {
    using Traits = detail::CallTraits<F, Args...>;
    const detail::CallableName name = detail::name_callable<typename Traits::Travel>(f);
    Encoder out;
    detail::write_arguments<typename Traits::Travel>(out, std::forward<Args>(args)...);
    Decoder in(out.bytes());
    Encoder result;
    detail::call_by_name(name, in, result);
    CHECK(in.remaining() == 0);
    if constexpr (!std::is_void_v<typename Traits::Result>)
        return mp::decode<typename Traits::Result>(result.bytes());
    else
        CHECK(result.size() == 0);
}

}  // namespace

TEST_CASE("a call finds its function again, and tells apart two of one signature") {
    CHECK(call(&twice, 4) == 8);
    CHECK(call(&thrice, 4) == 12);
    CHECK(call(mp::function<&twice>, 4) == 8);
    CHECK(call(mp::function<&thrice>, 4) == 12);
    CHECK(call(Adder{30}, 4) == 34);
    const auto lambda = [](int x) { return x - 1; };
    const auto generic = [](auto text) { return text.size(); };
    CHECK(call(lambda, 4) == 3);
    CHECK(call(generic, "four") == 4);
    CHECK_THROWS_AS(call(&fail, 1), std::range_error);
}

TEST_CASE("arguments are converted to the parameters' types, and read in their order") {
    CHECK(call(&glue, "a", std::string_view("b"), 3) == "ab3");
    CHECK(call(&twice, 'a') == 2 * 'a');
    CHECK(call([](std::vector<std::string> texts) { return texts.size(); }, std::vector<std::string>{"a", "b"}) == 2);
}

TEST_CASE("what a call sends is known from the callable, and from the arguments where that does not say") {
    STATIC_REQUIRE(std::is_same_v<detail::CallTraits<decltype(&glue), int, int, int>::Travel,
                                  std::tuple<std::string, std::string, double>>);
    const auto generic = [](auto... values) { return sizeof...(values); };
    STATIC_REQUIRE(std::is_same_v<detail::CallTraits<decltype(generic), const char(&)[3], int&, const char*>::Travel,
                                  std::tuple<std::string, int, std::string>>);
    STATIC_REQUIRE(detail::CallTraits<void (*)(int&), int>::writes_back());
    STATIC_REQUIRE_FALSE(detail::CallTraits<void (*)(const int&, int&&), int, int>::writes_back());
}

TEST_CASE("what may travel: function pointers, captureless lambdas, objects with a codec") {
    int captured = 1;
    const auto capturing = [&captured](int x) { return x + captured; };
    const auto stateless = [](int x) { return x; };
    STATIC_REQUIRE(detail::TravellingCallable<int (*)(int)>);
    STATIC_REQUIRE(detail::TravellingCallable<decltype(stateless)>);
    STATIC_REQUIRE(detail::TravellingCallable<Adder>);
    STATIC_REQUIRE_FALSE(detail::TravellingCallable<decltype(capturing)>);
    STATIC_REQUIRE_FALSE(detail::TravellingCallable<int*>);
}

TEST_CASE("a null pointer and a function made at run time are refused where they are sent") {
    int (*const null)(int) = nullptr;
    CHECK_THROWS_AS(call(null, 1), std::invalid_argument);
    void* const made = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_THROWS_AS(call(reinterpret_cast<int (*)(int)>(made), 1), UsageError);
    ::munmap(made, 4096);
}

TEST_CASE("a function of a library is called there, though its record is the executable's") {
    const support::LoadedLibrary library(support::library_with_build_id);
    const detail::CallableName name = detail::name_callable<std::tuple<int>>(library.function());
    CHECK_FALSE(name.place.library);
    CHECK(mp::decode<detail::Place>(name.state).library);
    CHECK(call(library.function(), 5) == 2005);
}

TEST_CASE("a place that holds no entry record, or one of another signature, is refused before it is used") {
    const detail::CallableName name = detail::name_callable<std::tuple<int>>(&twice);
    const auto other = [](int x) { return x; };
    const detail::CallableName others = detail::name_callable<std::tuple<int>>(other);
    CHECK(name.signature != others.signature);
    CHECK_NOTHROW(detail::find_entry(name));
    CHECK_THROWS_AS(detail::find_entry({name.place, others.signature, {}}), CodecError);
    CHECK_THROWS_AS(detail::find_entry({others.place, name.signature, {}}), CodecError);
    for (const std::uint64_t offset :
         {name.place.offset + 1, std::uint64_t{0}, std::uint64_t{1} << 46, ~std::uint64_t{0} - 7})
        CHECK_THROWS_AS(detail::find_entry({{offset, std::nullopt}, name.signature, {}}), CodecError);
    CHECK_THROWS_AS(detail::find_entry({{name.place.offset, detail::Library{{}, "/nowhere.so"}}, name.signature, {}}),
                    CodecError);
}

TEST_CASE("a function's place must hold code") {
    static const int data = 5;
    Encoder state;
    state.write(detail::place_of(reinterpret_cast<std::uintptr_t>(&data), sizeof data, "data"));
    CHECK_THROWS_AS(detail::find_callable<int (*)(int)>(state.bytes()), CodecError);
    const auto outside = mp::encode(detail::Place{std::uint64_t{1} << 46, std::nullopt});
    CHECK_THROWS_AS(detail::find_callable<int (*)(int)>(outside), CodecError);
    CHECK_THROWS_AS(detail::find_callable<int (*)(int)>({}), CodecError);
}

TEST_CASE("every truncation of a call's arguments is an error") {
    const detail::CallableName name = detail::name_callable<std::tuple<std::string, std::string, double>>(&glue);
    Encoder out;
    detail::write_arguments<std::tuple<std::string, std::string, double>>(out, "left", "right", 4.0);
    for (std::size_t size = 0; size < out.size(); ++size) {
        Decoder in(out.bytes().first(size));
        Encoder result;
        CHECK_THROWS_AS(detail::call_by_name(name, in, result), CodecError);
    }
}
