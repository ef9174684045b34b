// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/values.hpp>

#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

using plait::CodecError;
using plait::multiprocessing::decode;
using plait::multiprocessing::encode;

namespace {

enum class Truth : bool { no, yes };
enum Colour { red, green, blue };

struct ConstantFields {
    const int number;
    const std::string text;
    bool operator==(const ConstantFields&) const = default;
};
struct Defaults {
    int first = 1;
    int second = 2;
    bool operator==(const Defaults&) const = default;
};
struct ConstantPair {
    const int first;
    const int second;
    bool operator==(const ConstantPair&) const = default;
};
/// Neither copied nor moved nor made from nothing; it can still be a field.
class Fixed {
public:
    explicit Fixed(int number) : number_{number} {}
    Fixed(const Fixed&) = delete;
    Fixed& operator=(const Fixed&) = delete;
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};
struct HoldsFixed {
    int before;
    std::unique_ptr<Fixed> fixed;
};

struct ThrowsWhenMoved {
    ThrowsWhenMoved() = default;
    ThrowsWhenMoved(const ThrowsWhenMoved&) = default;
    ThrowsWhenMoved(ThrowsWhenMoved&&) { throw 1; }
    ThrowsWhenMoved& operator=(const ThrowsWhenMoved&) = default;
};

template <class T>
bool comes_back(const T& value) {
    return decode<T>(encode(value)) == value;
}

template <class T>
bool refused(const std::vector<std::byte>& bytes) {
    try {
        (void)decode<T>(bytes);
        return false;
    } catch (const CodecError&) {
        return true;
    }
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Fixed> {
    static void encode(Encoder& out, const Fixed& value) { out.write(value.number()); }
    static Fixed decode(Decoder& in) { return Fixed{in.read<int>()}; }
};
template <>
struct plait::multiprocessing::Codec<ThrowsWhenMoved> {
    static void encode(Encoder&, const ThrowsWhenMoved&) {}
    static ThrowsWhenMoved decode(Decoder&) { return {}; }
};

TEST_CASE("numbers come back, at their limits too") {
    CHECK(comes_back((std::numeric_limits<std::int64_t>::min)()));
    CHECK(comes_back((std::numeric_limits<std::uint64_t>::max)()));
    CHECK(comes_back('x'));
    CHECK(comes_back(u8'x'));
    CHECK(comes_back(L'x'));
    CHECK(comes_back(-0.5F));
    CHECK(comes_back(1.0L / 3.0L));
    CHECK(comes_back(std::numeric_limits<double>::infinity()));
    CHECK(std::isnan(decode<double>(encode(std::nan("")))));
    CHECK(std::signbit(decode<double>(encode(-0.0))));
    CHECK(comes_back(std::complex<double>(1, -2)));
    CHECK(comes_back(std::complex<long double>(1, -2)));
}

TEST_CASE("a number takes its own bytes and no others") {
    CHECK(encode(std::uint16_t{7}).size() == 2);
    CHECK(encode(true).size() == 1);
    CHECK(encode(1, 'c', 2.0).size() == sizeof(int) + 1 + sizeof(double));
    CHECK(encode(1.0L) == encode(1.0L));
    CHECK(refused<std::uint32_t>(encode(std::uint16_t{7})));
}

TEST_CASE("a truth value is 0 or 1, in whatever it stands") {
    CHECK(comes_back(true));
    CHECK(comes_back(Truth::yes));
    const std::vector<std::byte> two = encode(std::uint8_t{2});
    CHECK(refused<bool>(two));
    CHECK(refused<Truth>(two));
    CHECK(refused<std::optional<std::monostate>>(two));
    CHECK(refused<std::unique_ptr<std::monostate>>(two));
    CHECK(refused<std::tuple<bool>>(two));
}

TEST_CASE("enums come back as the number that they are") {
    CHECK(comes_back(blue));
    CHECK(comes_back(std::byte{200}));
}

TEST_CASE("times and paths come back") {
    CHECK(comes_back(std::chrono::milliseconds{-3}));
    CHECK(comes_back(std::chrono::duration<double>{0.25}));
    CHECK(comes_back(std::chrono::system_clock::now()));
    CHECK(comes_back(std::chrono::steady_clock::now()));
    CHECK(comes_back(std::filesystem::path{"/a/b c/d.txt"}));
    CHECK(comes_back(std::filesystem::path{}));
}

TEST_CASE("pairs and tuples are their parts, and may be nested and empty") {
    CHECK(comes_back(std::pair<int, std::string>{1, "one"}));
    CHECK(comes_back(std::tuple<>{}));
    CHECK(comes_back(std::tuple<std::tuple<int>, std::tuple<>, std::string>{{1}, {}, "one"}));
    CHECK(encode(std::tuple<>{}).empty());
    CHECK(encode(std::tuple<int, char>{1, 'c'}) == encode(1, 'c'));
}

TEST_CASE("an aggregate needs neither a default nor assignable fields") {
    CHECK(comes_back(ConstantFields{1, "one"}));
    CHECK(comes_back(ConstantPair{1, 2}));
    CHECK(comes_back(Defaults{3, 4}));
}

TEST_CASE("what is owned arrives owned, even if it cannot be moved") {
    CHECK(*decode<std::unique_ptr<std::string>>(encode(std::make_unique<std::string>("mine"))) == "mine");
    CHECK(decode<std::unique_ptr<std::string>>(encode(std::unique_ptr<std::string>{})) == nullptr);
    const auto bytes = encode(HoldsFixed{1, std::make_unique<Fixed>(2)});
    CHECK(decode<HoldsFixed>(bytes).fixed->number() == 2);
}

TEST_CASE("an optional is there or not, also inside another") {
    using Nested = std::optional<std::optional<int>>;
    CHECK(comes_back(Nested{}));
    CHECK(comes_back(Nested{std::optional<int>{}}));
    CHECK(comes_back(Nested{7}));
    CHECK(encode(Nested{}).size() == 1);
}

TEST_CASE("a variant comes back with its alternative, which may be there twice") {
    using Twice = std::variant<std::monostate, int, std::string, int>;
    CHECK(comes_back(Twice{}));
    CHECK(comes_back(Twice{std::in_place_index<1>, 5}));
    CHECK(comes_back(Twice{"text"}));
    CHECK(decode<Twice>(encode(Twice{std::in_place_index<3>, 5})).index() == 3);
    CHECK(refused<Twice>(encode(std::uint8_t{4}, 5)));
    CHECK(refused<Twice>(encode(std::uint8_t{1}, std::uint16_t{0})));
}

TEST_CASE("a variant without a value is an error to encode, after which the encoder works on") {
    std::variant<int, ThrowsWhenMoved> broken;
    try {
        ThrowsWhenMoved bad;
        broken.emplace<1>(std::move(bad));
    } catch (int) {
    }
    REQUIRE(broken.valueless_by_exception());
    plait::multiprocessing::Encoder out;
    for (int i = 0; i < 20; ++i) {
        CHECK_THROWS_AS(out.write(1, broken), CodecError);
        out.clear();
    }
    out.write(5);
    CHECK(decode<int>(out.bytes()) == 5);
}
