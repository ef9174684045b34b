// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

using plait::CodecError;
using plait::multiprocessing::Decodable;
using plait::multiprocessing::decode;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encodable;
using plait::multiprocessing::encode;
using plait::multiprocessing::Encoder;

namespace {

struct Position {
    int x, y;
    bool operator==(const Position&) const = default;
};
struct Person {
    std::string name;
    int age;
    std::vector<std::string> languages;
    std::map<std::string, Position> places;
    bool operator==(const Person&) const = default;
};
struct NumberTree {
    int value;
    std::vector<NumberTree> children;
    bool operator==(const NumberTree&) const = default;
};

/// 32 fields, of which some hold structs that hold containers.
struct Wide {
    int a0;
    std::string b0;
    std::vector<int> c0;
    std::optional<std::string> d0;
    Position e0;
    std::map<std::string, Position> f0;
    std::vector<Person> g0;
    std::array<std::uint16_t, 3> h0;
    int a1;
    std::string b1;
    std::vector<int> c1;
    std::optional<std::string> d1;
    Position e1;
    std::map<std::string, Position> f1;
    std::vector<Person> g1;
    std::array<std::uint16_t, 3> h1;
    int a2;
    std::string b2;
    std::vector<int> c2;
    std::optional<std::string> d2;
    Position e2;
    std::map<std::string, Position> f2;
    std::vector<Person> g2;
    std::array<std::uint16_t, 3> h2;
    int a3;
    std::string b3;
    std::vector<int> c3;
    std::optional<std::string> d3;
    Position e3;
    std::map<std::string, Position> f3;
    std::vector<Person> g3;
    std::array<std::uint16_t, 3> h3;
    bool operator==(const Wide&) const = default;
};
struct WideOfWides {
    std::vector<Wide> several;
    std::optional<Wide> one;
    std::map<int, Wide> named;
    bool operator==(const WideOfWides&) const = default;
};

class Url {
public:
    Url(std::string host, int port) : host_{std::move(host)}, port_{port} {
        if (port_ < 0) throw std::invalid_argument("a port below zero");
    }
    [[nodiscard]] const std::string& host() const { return host_; }
    [[nodiscard]] int port() const { return port_; }
    bool operator==(const Url&) const = default;

private:
    std::string host_;
    int port_;
};

/// An aggregate that would be encoded field by field, if it had no Codec.
struct Celsius {
    double degrees;
};

template <class T>
struct Box {
    explicit Box(T held) : value{std::move(held)} {}
    T value;
};

struct OneWay {
    explicit OneWay(int) {}
};

template <class Call>
std::string error_of(Call call) {
    try {
        call();
    } catch (const CodecError& error) {
        return error.what();
    }
    return "no error";
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

template <>
struct plait::multiprocessing::Codec<Url> {
    static void encode(Encoder& out, const Url& url) { out.write(url.host(), url.port()); }
    static Url decode(Decoder& in) {
        auto host = in.read<std::string>();
        return Url(host, in.read<int>());
    }
};
template <>
struct plait::multiprocessing::Codec<Celsius> {
    static void encode(Encoder& out, const Celsius& value) { out.write(static_cast<int>(value.degrees)); }
    static Celsius decode(Decoder& in) { return {static_cast<double>(in.read<int>())}; }
};
template <class T>
    requires plait::multiprocessing::Encodable<T>
struct plait::multiprocessing::Codec<Box<T>> {
    static void encode(Encoder& out, const Box<T>& box) { out.write(box.value); }
    static Box<T> decode(Decoder& in) { return Box<T>{in.read<T>()}; }
};
template <>
struct plait::multiprocessing::Codec<OneWay> {
    static void encode(Encoder& out, const OneWay&) { out.write(1); }
};

TEST_CASE("a struct of structs and containers comes back equal, without a line for it") {
    const Person ada{"Ada", 36, {"English", "French"}, {{"London", {1, 2}}, {"Turin", {3, 4}}}};
    CHECK(decode<Person>(encode(ada)) == ada);
    const NumberTree tree{1, {{2, {}}, {3, {{4, {}}, {5, {}}}}}};
    CHECK(decode<NumberTree>(encode(tree)) == tree);
}

TEST_CASE("a struct of 32 fields, nested in others and in containers, comes back equal") {
    Wide wide{};
    wide.a0 = 1;
    wide.b1 = "text";
    wide.c2 = {1, 2, 3};
    wide.d3 = "there";
    wide.e0 = {4, 5};
    wide.f1 = {{"here", {6, 7}}};
    wide.g2 = {{"Ada", 36, {"English"}, {{"London", {1, 2}}}}, {}};
    wide.h3 = {8, 9, 10};
    CHECK(decode<Wide>(encode(wide)) == wide);
    const WideOfWides wides{{wide, {}, wide}, wide, {{3, wide}}};
    CHECK(decode<WideOfWides>(encode(wides)) == wides);
}

TEST_CASE("several values are encoded as their tuple") {
    const auto bytes = encode(7, std::string("seven"));
    const auto [number, name] = decode<std::tuple<int, std::string>>(bytes);
    CHECK(number == 7);
    CHECK(name == "seven");
    CHECK(encode(std::tuple<int, std::string>{7, "seven"}) == bytes);
    CHECK(decode<std::tuple<>>(encode()) == std::tuple<>{});
}

TEST_CASE("all bytes belong to the value") {
    CHECK(error_of([] { (void)decode<int>(encode(7, 'x')); }) == "cannot decode int: 1 bytes too many");
    CHECK(error_of([] { (void)decode<int>({}); }) == "cannot decode int: truncated: 4 bytes wanted, 0 left");
}

TEST_CASE("a codec of the user's serves its type wherever it stands, and comes before the automatic one") {
    const std::map<std::string, std::vector<Url>> urls{{"home", {Url("localhost", 80), Url("example.org", 443)}}};
    CHECK(decode<std::map<std::string, std::vector<Url>>>(encode(urls)) == urls);
    CHECK(encode(Celsius{21.7}).size() == sizeof(int));
    CHECK(decode<std::vector<Celsius>>(encode(std::vector<Celsius>{{21.7}}))[0].degrees == 21);
    CHECK(decode<Box<Box<std::string>>>(encode(Box{Box{std::string("in")}})).value.value == "in");
}

TEST_CASE("what a user's codec throws passes through") {
    CHECK_THROWS_AS(decode<Url>(encode(std::string("localhost"), -1)), std::invalid_argument);
    CHECK_THROWS_AS(decode<std::vector<Url>>(encode(std::uint64_t{1}, std::string("x"), -1)), std::invalid_argument);
}

TEST_CASE("the concepts tell which way a type goes") {
    STATIC_REQUIRE(Encodable<Person>);
    STATIC_REQUIRE(Decodable<Person>);
    STATIC_REQUIRE(Encodable<OneWay>);
    STATIC_REQUIRE_FALSE(Decodable<OneWay>);
    STATIC_REQUIRE_FALSE(Decodable<std::vector<OneWay>>);
    STATIC_REQUIRE(Encodable<std::string_view>);
    STATIC_REQUIRE_FALSE(Decodable<std::string_view>);
    STATIC_REQUIRE_FALSE(Encodable<const char*>);
    STATIC_REQUIRE_FALSE(Encodable<std::shared_ptr<int>>);
    STATIC_REQUIRE_FALSE(Encodable<Box<int*>>);
}

TEST_CASE("an error in a part names the part's type, and the reader of one value is not harmed by the last") {
    CHECK(mentions(error_of([] { (void)decode<Person>(encode(std::string("Ada"))); }), "int: truncated"));
    CHECK(mentions(error_of([] { (void)decode<std::vector<bool>>(encode(std::uint64_t{1}, 'x')); }), "bool: a truth"));
    CHECK(mentions(error_of([] { (void)decode<std::vector<int>>(encode(std::uint64_t{9}, 1)); }),
                   "9 elements announced, 4 bytes left"));
    const auto good = encode(std::string("good"));
    CHECK(error_of([] { (void)decode<std::string>(encode(std::uint64_t{5})); }) != "no error");
    CHECK(decode<std::string>(good) == "good");
}
