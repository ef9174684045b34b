// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/imap_state.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CodecError;
using plait::TimeoutError;
using plait::detail::Deadline;
using plait::detail::Order;
using plait::detail::ProgressTeller;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::encode;
using plait::multiprocessing::detail::Engine;
using plait::multiprocessing::detail::ImapStatePointer;
using plait::multiprocessing::detail::ItemSink;
using plait::multiprocessing::detail::make_imap_state;
using plait::multiprocessing::detail::read;
using plait::multiprocessing::detail::RefusedItem;
using plait::multiprocessing::detail::SinkPointer;

namespace {

const std::shared_ptr<Engine> no_engine;

template <class Result>
ImapStatePointer<Result> imap_of(Order order, std::size_t sent, std::vector<RefusedItem> refused = {},
                                 std::shared_ptr<ProgressTeller> teller = nullptr) {
    auto state = make_imap_state<Result>(no_engine, order);
    state->expect(sent, std::move(refused), std::move(teller));
    return state;
}

template <class T>
void succeed(const SinkPointer& sink, std::size_t item, const T& value) {
    const auto bytes = encode(value);
    Decoder in(bytes);
    sink->succeed(item, in);
}

std::exception_ptr error(const char* text) { return std::make_exception_ptr(std::runtime_error(text)); }

}  // namespace

TEST_CASE("a pool's imap gives the results in the items' order, or as they come") {
    auto ordered = imap_of<std::string>(Order::of_items, 2);
    const SinkPointer sink{*ordered};
    auto results = read(std::move(ordered), nullptr);
    CHECK(sink->begin());
    CHECK(sink->begin());
    succeed(sink, 1, std::string("second"));
    CHECK_THROWS_AS(results.next(0s), TimeoutError);
    CHECK_THROWS_AS(results.next(1ms), TimeoutError);
    succeed(sink, 0, std::string("first"));
    CHECK(results.next(0s) == "first");
    CHECK(results.next() == "second");
    CHECK(results.next() == std::nullopt);

    auto unordered = imap_of<std::string>(Order::of_completion, 2);
    const SinkPointer other{*unordered};
    auto as_they_come = read(std::move(unordered), nullptr);
    succeed(other, 1, std::string("second"));
    CHECK(as_they_come.next(0s) == "second");
    CHECK_THROWS_AS(as_they_come.next(0s), TimeoutError);
    succeed(other, 0, std::string("first"));
    CHECK(as_they_come.next(0s) == "first");
}

TEST_CASE("an item that fails throws at its turn, as one does whose result cannot be read") {
    auto state = imap_of<int>(Order::of_items, 4);
    const SinkPointer sink{*state};
    auto results = read(std::move(state), nullptr);
    sink->fail(1, error("died"));
    succeed(sink, 0, 10);
    succeed(sink, 2, 30L);
    succeed(sink, 3, 40);
    CHECK(results.next() == 10);
    CHECK_THROWS_WITH(results.next(), "died");
    CHECK_THROWS_AS(results.next(), CodecError);
    CHECK(results.next() == 40);
}

TEST_CASE("items that were refused fail at their turn, and the call's are numbered without them") {
    const std::vector<RefusedItem> refused{{0, error("0")}, {2, error("2")}, {3, error("3")}, {6, error("6")}};
    for (const Order order : {Order::of_items, Order::of_completion}) {
        auto state = imap_of<int>(order, 3, refused);
        const SinkPointer sink{*state};
        auto results = read(std::move(state), nullptr);
        // Of the items 0 to 6, the call has 1, 4 and 5.
        succeed(sink, 2, 5);
        succeed(sink, 0, 1);
        succeed(sink, 1, 4);
        std::string all;
        for (int i = 0; i < 7; ++i) {
            try {
                all += std::to_string(*results.next(0s));
            } catch (const std::runtime_error& failed) {
                all += std::string(failed.what()) + "!";
            }
        }
        CHECK(all == (order == Order::of_items ? "0!12!3!456!" : "0!2!3!6!514"));
        CHECK(results.next(0s) == std::nullopt);
    }
}

TEST_CASE("the range's error comes behind what came before it, with nothing before it too") {
    auto state = imap_of<int>(Order::of_items, 1);
    const SinkPointer sink{*state};
    auto results = read(std::move(state), error("no more"));
    succeed(sink, 0, 1);
    CHECK(results.next() == 1);
    CHECK_THROWS_WITH(results.next(), "no more");
    CHECK(results.next() == std::nullopt);

    auto nothing = read(imap_of<int>(Order::of_completion, 0), error("none at all"));
    CHECK_THROWS_WITH(nothing.next(), "none at all");
    CHECK(nothing.next() == std::nullopt);
}

TEST_CASE("results of void are empty") {
    auto state = imap_of<void>(Order::of_items, 2);
    const SinkPointer sink{*state};
    auto results = read(std::move(state), nullptr);
    succeed(sink, 0, std::tuple<>{});
    sink->fail(1, error("of void"));
    CHECK(results.next().has_value());
    CHECK_THROWS_WITH(results.next(), "of void");
    CHECK_FALSE(results.next().has_value());
}

TEST_CASE("once the reader is gone nothing begins, and the state goes with the last that tells it") {
    for (const bool is_lost : {false, true}) {
        const auto held = std::make_shared<ProgressTeller>(plait::Progress{}, std::size_t{3},
                                                           [](Deadline, ProgressTeller::Function&) { return false; });
        auto state = imap_of<int>(Order::of_completion, 3, {}, held);
        std::optional<SinkPointer> sink{std::in_place, *state};
        {
            const auto results = read(std::move(state), nullptr);
            CHECK((*sink)->begin());
            succeed(*sink, 0, 1);
        }
        CHECK_FALSE((*sink)->begin());
        succeed(*sink, 1, 2);
        if (is_lost)
            (*sink)->abandon();
        else
            (*sink)->fail(2, error("late"));
        CHECK(held.use_count() == 2);
        sink.reset();
        CHECK(held.use_count() == 1);
    }
}

TEST_CASE("items that nobody will tell of are broken promises, each at its turn, and the others keep what they have") {
    for (const Order order : {Order::of_items, Order::of_completion}) {
        auto state = imap_of<int>(order, 3);
        const SinkPointer sink{*state};
        auto results = read(std::move(state), nullptr);
        succeed(sink, 1, 20);
        if (order == Order::of_completion) CHECK(results.next(0s) == 20);
        sink->abandon();
        CHECK_THROWS_AS(results.next(0s), plait::BrokenPromiseError);
        if (order == Order::of_items) CHECK(results.next(0s) == 20);
        CHECK_THROWS_AS(results.next(0s), plait::BrokenPromiseError);
        CHECK(results.next(0s) == std::nullopt);
    }
}

TEST_CASE("abandoning what was told in full changes nothing") {
    auto state = imap_of<std::vector<int>>(Order::of_completion, 2);
    const SinkPointer sink{*state};
    auto results = read(std::move(state), nullptr);
    succeed(sink, 0, std::vector{1});
    CHECK(results.next(0s) == std::vector{1});
    sink->fail(1, error("second"));
    CHECK_THROWS_WITH(results.next(0s), "second");
    sink->abandon();
    CHECK(results.next(0s) == std::nullopt);
}

TEST_CASE("several threads tell a pool's imap at once, and its reader misses nothing, round after round") {
    constexpr std::size_t count = 12;
    for (int round = 0; round < 100; ++round) {
        for (const Order order : {Order::of_items, Order::of_completion}) {
            auto state = imap_of<int>(order, count);
            ItemSink& sink = *state;
            auto results = read(std::move(state), nullptr);
            const auto tell = [pointer = SinkPointer{sink}](std::size_t first) {
                for (std::size_t item = first; item < count; item += 3) {
                    if (item % 4 == 3)
                        pointer->fail(item, error("every fourth"));
                    else
                        succeed(pointer, item, static_cast<int>(item));
                }
            };
            std::thread threads[] = {std::thread{[&] { tell(0); }}, std::thread{[&] { tell(1); }},
                                     std::thread{[&] { tell(2); }}};
            std::vector<int> values;
            int failed = 0;
            for (std::size_t i = 0; i < count; ++i) {
                try {
                    values.push_back(results.next(30s).value());
                } catch (const std::runtime_error&) {
                    ++failed;
                }
            }
            for (std::thread& thread : threads) thread.join();
            std::sort(values.begin(), values.end());
            REQUIRE(values == std::vector{0, 1, 2, 4, 5, 6, 8, 9, 10});
            REQUIRE(failed == 3);
        }
    }
}

TEST_CASE("a progress is told of every item, of the last before the reader has it, and of nothing once that is gone") {
    using Function = ProgressTeller::Function;
    std::vector<Function> posted;
    const auto run_posted = [&] {
        std::vector<Function> now;
        now.swap(posted);
        for (Function& function : now) function();
    };
    std::string told;
    const auto make_teller = [&](std::size_t total) {
        return std::make_shared<ProgressTeller>(
            [&](std::size_t done, std::size_t of) { told += std::to_string(done) + "/" + std::to_string(of) + " "; },
            total,
            [&](Deadline, Function& function) {
                posted.push_back(std::move(function));
                return true;
            });
    };
    auto state = imap_of<int>(Order::of_items, 2, {{0, error("refused")}}, make_teller(3));
    const SinkPointer sink{*state};
    auto results = read(std::move(state), nullptr);
    run_posted();
    CHECK(told == "1/3 ");
    CHECK_THROWS_WITH(results.next(0s), "refused");
    succeed(sink, 0, 1);
    CHECK(results.next(0s) == 1);
    sink->fail(1, error("last"));
    CHECK_THROWS_AS(results.next(0s), TimeoutError);
    run_posted();
    CHECK(told == "1/3 2/3 3/3 ");
    CHECK_THROWS_WITH(results.next(0s), "last");
    run_posted();
    CHECK(posted.empty());

    told.clear();
    auto another = imap_of<int>(Order::of_items, 2, {}, make_teller(2));
    const SinkPointer dropped{*another};
    succeed(dropped, 0, 1);
    {
        const auto unread = read(std::move(another), nullptr);
    }
    succeed(dropped, 1, 2);
    run_posted();
    run_posted();
    CHECK(told.empty());

    {
        const auto nothing = read(imap_of<int>(Order::of_items, 0, {}, make_teller(0)), nullptr);
    }
    auto empty = read(imap_of<int>(Order::of_items, 0, {}, make_teller(0)), nullptr);
    run_posted();
    CHECK(told == "0/0 ");
    CHECK(empty.next() == std::nullopt);
}
