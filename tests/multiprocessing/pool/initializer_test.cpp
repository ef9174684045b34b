// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/initializer.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <signal.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

// What an initializer is given beside plain values: what processes share.

using namespace support;
using plait::multiprocessing::Initializer;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::detail::Shared;

namespace {

struct CounterState {
    std::atomic<int> hits{0};
};

/// A number that processes share.
struct Counter {
    Shared<CounterState> state = Shared<CounterState>::create();
};

std::optional<Counter> counter;  // in the workers only

void remember(const std::string& name, const Counter& given, const Counter& same) {
    if (name == "both" && given.state == same.state) counter = given;
}

int hit(int times) {
    if (!counter) return -1;
    counter->state->hits += times;
    return times;
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Counter> {
    [[maybe_unused]] static constexpr bool carries_handles = true;
    static void encode(Encoder& out, const Counter& value) { detail::put_shared(out, value.state); }
    static Counter decode(Decoder& in) { return Counter{detail::get_shared<CounterState>(in)}; }
};

TEST_CASE("an initializer's arguments may be shared with the program, in replacements too") {
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const auto open = open_descriptors();
    {
        const Counter shared;
        Pool pool(PoolOptions{.processes = 2,
                              .initializer = Initializer(remember, "both", shared, shared),
                              .start_method = start_method});
        CHECK(pool.map(hit, std::vector<int>(10, 1), 1) == std::vector<int>(10, 1));
        CHECK(shared.state->hits == 10);
        CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), plait::ProcessDied);
        CHECK(pool.map(hit, std::vector<int>(10, 1), 1) == std::vector<int>(10, 1));
        CHECK(shared.state->hits == 20);
    }
    CHECK((open_descriptors() == open));
}

TEST_CASE("an initializer keeps what it was given until the pool is made") {
    std::optional<Initializer> initializer;
    {
        const Counter shared;
        initializer.emplace(remember, "both", shared, shared);
    }
    Pool pool(PoolOptions{.processes = 1, .initializer = initializer});
    initializer.reset();
    CHECK(pool.apply(hit, 3) == 3);
}
