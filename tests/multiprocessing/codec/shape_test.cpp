// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/shape.hpp>

#include "support/catch.hpp"

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace detail = plait::multiprocessing::detail;
using detail::Bitwise;
using detail::minimum_size;
using detail::Shape;
using detail::shape;

namespace {

enum class YesOrNo : bool { no, yes };
enum class Light : unsigned char { red, green };
struct Fieldless {};
struct Place {
    double x, y;
};
struct Padded {
    char letter;
    int number;
};
struct Flagged {
    bool flag;
};
struct Text {
    std::string text;
    Place point;
};
struct Branch {
    std::vector<Branch> children;
};
struct Json : std::map<std::string, Json> {};
struct Coded {
    int number;
};
union Either {
    int number;
    float real;
};
struct Virtual {
    virtual ~Virtual() = default;
};

template <class T>
constexpr bool both_ways = detail::goes<T, detail::Way::encode>() && detail::goes<T, detail::Way::decode>();
template <class T>
constexpr bool no_way = !detail::goes<T, detail::Way::encode>() && !detail::goes<T, detail::Way::decode>();

}  // namespace

template <>
struct plait::multiprocessing::Codec<Coded> {
    static void encode(Encoder& out, const Coded& value);
    static Coded decode(Decoder& in);
};

TEST_CASE("each standard type is known by its shape") {
    STATIC_REQUIRE(shape<bool> == Shape::boolean);
    STATIC_REQUIRE(shape<char> == Shape::scalar);
    STATIC_REQUIRE(shape<long double> == Shape::long_double);
    STATIC_REQUIRE(shape<std::byte> == Shape::enumeration);
    STATIC_REQUIRE(shape<std::chrono::seconds> == Shape::duration);
    STATIC_REQUIRE(shape<std::chrono::steady_clock::time_point> == Shape::time_point);
    STATIC_REQUIRE(shape<std::complex<float>> == Shape::complex);
    STATIC_REQUIRE(shape<std::bitset<9>> == Shape::bitset);
    STATIC_REQUIRE(shape<std::filesystem::path> == Shape::path);
    STATIC_REQUIRE(shape<std::optional<int>> == Shape::optional);
    STATIC_REQUIRE(shape<std::variant<int, Fieldless>> == Shape::variant);
    STATIC_REQUIRE(shape<std::unique_ptr<int>> == Shape::owner);
    STATIC_REQUIRE(shape<std::array<int, 0>> == Shape::array);
    STATIC_REQUIRE(shape<std::pair<int, int>> == Shape::tuple);
    STATIC_REQUIRE(shape<std::tuple<>> == Shape::tuple);
    STATIC_REQUIRE(shape<std::string_view> == Shape::borrowed);
    STATIC_REQUIRE(shape<std::span<const int>> == Shape::borrowed);
    STATIC_REQUIRE(shape<std::span<int, 3>> == Shape::borrowed);
    STATIC_REQUIRE(shape<std::string> == Shape::sequence);
    STATIC_REQUIRE(shape<std::vector<bool>> == Shape::sequence);
    STATIC_REQUIRE(shape<std::deque<int>> == Shape::sequence);
    STATIC_REQUIRE(shape<std::list<int>> == Shape::sequence);
    STATIC_REQUIRE(shape<std::forward_list<int>> == Shape::forward_list);
    STATIC_REQUIRE(shape<std::set<int>> == Shape::associative);
    STATIC_REQUIRE(shape<std::unordered_multimap<int, int>> == Shape::associative);
    STATIC_REQUIRE(shape<std::monostate> == Shape::aggregate);
    STATIC_REQUIRE(shape<Coded> == Shape::user);
    STATIC_REQUIRE(shape<int*> == Shape::none);
    STATIC_REQUIRE(shape<std::unique_ptr<int[]>> == Shape::none);
    STATIC_REQUIRE(shape<std::shared_ptr<int>> == Shape::none);
}

TEST_CASE("a type is its bytes when every pattern is a value and nothing is padding") {
    STATIC_REQUIRE(Bitwise<int>);
    STATIC_REQUIRE(Bitwise<double>);
    STATIC_REQUIRE(Bitwise<std::byte>);
    STATIC_REQUIRE(Bitwise<Light>);
    STATIC_REQUIRE(Bitwise<Place>);
    STATIC_REQUIRE(Bitwise<std::array<Place, 3>>);
    STATIC_REQUIRE(Bitwise<std::chrono::nanoseconds>);
    STATIC_REQUIRE(Bitwise<std::chrono::system_clock::time_point>);
    STATIC_REQUIRE(Bitwise<std::complex<double>>);
    STATIC_REQUIRE_FALSE(Bitwise<bool>);
    STATIC_REQUIRE_FALSE(Bitwise<YesOrNo>);
    STATIC_REQUIRE_FALSE(Bitwise<long double>);
    STATIC_REQUIRE_FALSE(Bitwise<Padded>);
    STATIC_REQUIRE_FALSE(Bitwise<Flagged>);
    STATIC_REQUIRE_FALSE(Bitwise<Text>);
    STATIC_REQUIRE_FALSE(Bitwise<Fieldless>);
    STATIC_REQUIRE_FALSE(Bitwise<Coded>);
    STATIC_REQUIRE_FALSE(Bitwise<std::array<bool, 3>>);
}

TEST_CASE("the least size of a type is a bound for its count in a container") {
    STATIC_REQUIRE(minimum_size<int>() == sizeof(int));
    STATIC_REQUIRE(minimum_size<std::string>() == 8);
    STATIC_REQUIRE(minimum_size<std::optional<Text>>() == 1);
    STATIC_REQUIRE(minimum_size<Text>() == 8 + sizeof(Place));
    STATIC_REQUIRE(minimum_size<Padded>() == 1 + sizeof(int));
    STATIC_REQUIRE(minimum_size<std::array<bool, 5>>() == 5);
    STATIC_REQUIRE(minimum_size<std::tuple<char, bool>>() == 2);
    STATIC_REQUIRE(minimum_size<Fieldless>() == 0);
    STATIC_REQUIRE(minimum_size<Coded>() == 0);
}

TEST_CASE("what can cross is known before anything is instantiated, also for types that hold themselves") {
    STATIC_REQUIRE(both_ways<Branch>);
    STATIC_REQUIRE(both_ways<Json>);
    STATIC_REQUIRE(both_ways<std::map<std::string, std::vector<std::optional<Text>>>>);
    STATIC_REQUIRE(both_ways<std::unique_ptr<Branch>>);
    STATIC_REQUIRE(both_ways<Coded>);
    STATIC_REQUIRE(no_way<const char*>);
    STATIC_REQUIRE(no_way<int&>);
    STATIC_REQUIRE(no_way<void>);
    STATIC_REQUIRE(no_way<int[3]>);
    STATIC_REQUIRE(no_way<void (*)()>);
    STATIC_REQUIRE(no_way<int Place::*>);
    STATIC_REQUIRE(no_way<Either>);
    STATIC_REQUIRE(no_way<Virtual>);
    STATIC_REQUIRE(no_way<std::unique_ptr<Virtual>>);
    STATIC_REQUIRE(no_way<std::vector<int*>>);
    STATIC_REQUIRE(no_way<std::tuple<int&>>);
    STATIC_REQUIRE(no_way<std::map<int, std::shared_ptr<int>>>);
    STATIC_REQUIRE(no_way<std::variant<int, int*>>);
}

TEST_CASE("a view can be encoded, and never decoded") {
    STATIC_REQUIRE(detail::goes<std::string_view, detail::Way::encode>());
    STATIC_REQUIRE(detail::goes<std::span<const Text>, detail::Way::encode>());
    STATIC_REQUIRE_FALSE(detail::goes<std::string_view, detail::Way::decode>());
    STATIC_REQUIRE_FALSE(detail::goes<std::span<const int>, detail::Way::decode>());
    STATIC_REQUIRE_FALSE(detail::goes<std::vector<std::string_view>, detail::Way::decode>());
}
