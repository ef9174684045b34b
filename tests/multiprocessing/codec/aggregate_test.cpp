// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/aggregate.hpp>

#include "support/catch.hpp"

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace detail = plait::multiprocessing::detail;
using detail::Obstacle;

namespace {

struct Empty {};
struct Point {
    int x, y;
};
struct Tree {
    int value;
    std::vector<Tree> children;
};
struct Explicit {
    explicit Explicit(int) {}
};
struct Named {
    explicit Named(std::string) {}
    explicit Named(Point) {}
};

struct Mixed {
    int number;
    std::string text;
    Point point;
    std::array<int, 3> three;
    std::optional<std::string> maybe;
};
struct Constants {
    const int number;
    const std::string text;
    const std::deque<int> numbers;
};
struct MoveOnly {
    std::unique_ptr<int> pointer;
};
struct Node {
    std::vector<Node> children;
    std::unique_ptr<Node> next;
};
struct NoDefaults {
    int first;
    Explicit second;
    Explicit third;
};
struct WithCodec {
    Named first;
    Named second;
    int third;
};

struct ArrayFirst {
    int array[3];
    int number;
};
struct ArrayLast {
    int number;
    Point array[2];
};
struct ArrayOfOne {
    int array[1];
};
struct ArrayOfNoDefaults {
    Explicit array[2];
};
struct DerivedFromPoint : Point {
    int z;
};
struct DerivedFromEmpty : Empty {
    int z;
};
struct OnlyDerived : Empty {};
struct Bits {
    unsigned few : 3;
    unsigned whole;
};
struct ConstReference {
    int number;
    const std::string& text;
};
struct RvalueReference {
    int&& number;
};
struct Reference {
    int& number;
};
struct File {
    int descriptor;
    ~File() {}
};
struct OwnerWithString {
    std::string name;
    int descriptor;
    ~OwnerWithString() {}
};
struct OwnerWithPointer {
    std::unique_ptr<int> pointer;
    ~OwnerWithPointer() {}
};
struct OwnerWithDeque {
    std::deque<int> numbers;
    int descriptor;
    ~OwnerWithDeque() {}
};

struct FortyFields {
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10;
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10;
};
struct FortyOneFields {
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10;
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10;
    int e;
};

template <class T, class... Fields>
constexpr bool has_fields = std::is_same_v<detail::FieldsOf<T>, detail::TypeList<Fields...>>;

}  // namespace

template <>
struct plait::multiprocessing::Codec<Named> {};

TEST_CASE("the fields of a plain struct are found, with their types") {
    STATIC_REQUIRE(has_fields<Empty>);
    STATIC_REQUIRE(has_fields<Point, int, int>);
    STATIC_REQUIRE(has_fields<Tree, int, std::vector<Tree>>);
    STATIC_REQUIRE(has_fields<Mixed, int, std::string, Point, std::array<int, 3>, std::optional<std::string>>);
    STATIC_REQUIRE(has_fields<Constants, int, std::string, std::deque<int>>);
    STATIC_REQUIRE(has_fields<MoveOnly, std::unique_ptr<int>>);
    STATIC_REQUIRE(has_fields<Node, std::vector<Node>, std::unique_ptr<Node>>);
    STATIC_REQUIRE(has_fields<NoDefaults, int, Explicit, Explicit>);
    STATIC_REQUIRE(has_fields<WithCodec, Named, Named, int>);
    STATIC_REQUIRE(detail::FieldsOf<FortyFields>::size == 40);
    STATIC_REQUIRE(detail::obstacle_of<FortyFields>() == Obstacle::none);
    STATIC_REQUIRE(detail::obstacle_of<Constants>() == Obstacle::none);
    STATIC_REQUIRE(detail::obstacle_of<WithCodec>() == Obstacle::none);
}

TEST_CASE("fields are visited in order, and can be written through") {
    Point point{1, 2};
    detail::visit_fields(point, [](int& x, int& y) { std::swap(x, y); });
    CHECK(point.x == 2);
    CHECK(point.y == 1);
}

TEST_CASE("what would make counting lie, or a copy of the fields wrong, is named") {
    STATIC_REQUIRE(detail::obstacle_of<std::string>() == Obstacle::no_aggregate);
    STATIC_REQUIRE(detail::obstacle_of<int>() == Obstacle::no_aggregate);
    STATIC_REQUIRE(detail::obstacle_of<ArrayFirst>() == Obstacle::array);
    STATIC_REQUIRE(detail::obstacle_of<ArrayLast>() == Obstacle::array);
    STATIC_REQUIRE(detail::obstacle_of<ArrayOfOne>() == Obstacle::array);
    STATIC_REQUIRE(detail::obstacle_of<ArrayOfNoDefaults>() == Obstacle::array);
    STATIC_REQUIRE(detail::obstacle_of<DerivedFromPoint>() == Obstacle::base);
    STATIC_REQUIRE(detail::obstacle_of<DerivedFromEmpty>() == Obstacle::base);
    STATIC_REQUIRE(detail::obstacle_of<OnlyDerived>() == Obstacle::base);
    STATIC_REQUIRE(detail::obstacle_of<Bits>() == Obstacle::bit_field);
    STATIC_REQUIRE(detail::obstacle_of<ConstReference>() == Obstacle::reference);
    STATIC_REQUIRE(detail::obstacle_of<RvalueReference>() == Obstacle::reference);
    STATIC_REQUIRE(detail::obstacle_of<Reference>() == Obstacle::uncountable);
    STATIC_REQUIRE(detail::obstacle_of<FortyOneFields>() == Obstacle::too_many);
}

TEST_CASE("a struct with a destructor of its own is found out, whatever its fields are") {
    STATIC_REQUIRE(detail::obstacle_of<File>() == Obstacle::destructor);
    STATIC_REQUIRE(detail::obstacle_of<OwnerWithString>() == Obstacle::destructor);
    STATIC_REQUIRE(detail::obstacle_of<OwnerWithPointer>() == Obstacle::destructor);
    STATIC_REQUIRE(detail::obstacle_of<OwnerWithDeque>() == Obstacle::destructor);
}
