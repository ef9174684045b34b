// SPDX-License-Identifier: MIT
#include <plait/threading/detail/local_values.hpp>
#include <plait/threading/local.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

using plait::threading::Local;
using plait::threading::detail::own_locals;

TEST_CASE("Locals one after the other need no more slots than one") {
    // Twice as many as need be, at most; and other tests of this program have used some.
    static_cast<void>(*Local<int>{});
    const std::uint32_t before = own_locals().size;
    for (int i = 0; i < 10'000; ++i) {
        Local<int> local;
        *local = 1;
    }
    CHECK(own_locals().size == before);
}

TEST_CASE("a thread has a slot for each of its Locals, and not many more, and finds all of them again") {
    std::vector<std::unique_ptr<Local<std::size_t>>> locals(1'000);
    for (auto& local : locals) {
        local = std::make_unique<Local<std::size_t>>();
        static_cast<void>(**local);
    }
    std::size_t right = 0;
    std::uint32_t slots = 0;
    std::uint32_t slots_before = 1;
    std::thread thread{[&] {
        slots_before = own_locals().size;
        for (std::size_t i = 0; i < locals.size(); ++i) **locals[i] = i;
        for (std::size_t i = 0; i < locals.size(); ++i) right += **locals[i] == i ? 1U : 0U;
        slots = own_locals().size;
    }};
    thread.join();
    CHECK(slots_before == 0);
    CHECK(right == locals.size());
    CHECK(slots >= locals.size());
    CHECK(slots < 4 * locals.size());
}

TEST_CASE("what a thread knows of its values is ready without code of ours, and needs none at its end") {
    STATIC_REQUIRE(std::is_trivially_destructible_v<plait::threading::detail::OwnLocals>);
}
