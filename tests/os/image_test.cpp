// SPDX-License-Identifier: MIT
#include <plait/os/image.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

using plait::os::executable_image;

namespace {

int function() { return 1; }
const int constant = 5;
int variable = 5;

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace

TEST_CASE("the executable's image holds its functions and its data, and nothing else") {
    const auto& image = executable_image();
    const auto code = reinterpret_cast<std::uintptr_t>(&function);
    CHECK(image.contains(code, 1));
    CHECK(image.contains_code(code));
    CHECK(image.contains(address_of(&constant), sizeof constant));
    CHECK_FALSE(image.contains_code(address_of(&variable)));
    CHECK(image.contains(address_of(&variable), sizeof variable));
    const auto on_heap = std::make_unique<int>(1);
    const int on_stack = 1;
    CHECK_FALSE(image.contains(address_of(on_heap.get()), 1));
    CHECK_FALSE(image.contains(address_of(&on_stack), 1));
    CHECK(image.base() <= code);
}

TEST_CASE("no range that ends outside of the image is in it") {
    const auto& image = executable_image();
    const auto inside = address_of(&constant);
    CHECK_FALSE(image.contains(inside, std::size_t{1} << 40));
    CHECK_FALSE(image.contains(inside, ~std::size_t{0}));
    CHECK_FALSE(image.contains(0, 1));
    CHECK_FALSE(image.contains(~std::uintptr_t{0}, 1));
    CHECK_FALSE(image.contains(~std::uintptr_t{0} - 7, 8));
    CHECK_FALSE(image.contains_code(~std::uintptr_t{0}));
}

TEST_CASE("an image has an identity that is not zero") {
    const auto& identity = executable_image().identity();
    CHECK(std::any_of(identity.begin(), identity.end(), [](std::byte byte) { return byte != std::byte{}; }));
}
