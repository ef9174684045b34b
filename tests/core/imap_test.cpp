// SPDX-License-Identifier: MIT
#include <plait/core/imap.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::Imap;
using plait::Outcome;
using plait::Timeout;
using plait::TimeoutError;
using plait::UsageError;

namespace {

/// Results that are written down before, of which so many are there.
template <class R>
struct Written final : plait::detail::ImapSource<R> {
    Outcome<R>* next(Timeout timeout) override {
        last_timeout = timeout;
        return at < there ? &results[at++] : nullptr;
    }
    void leave() noexcept override { ++left; }

    template <class... Value>
    void add(Value&&... value) {
        results.emplace_back().set_value(std::forward<Value>(value)...);
        ++there;
    }

    std::vector<Outcome<R>> results;
    std::size_t there = 0;
    std::size_t at = 0;
    int left = 0;
    std::optional<Timeout> last_timeout;
};

std::exception_ptr error(const char* text) { return std::make_exception_ptr(std::runtime_error(text)); }

}  // namespace

TEST_CASE("an Imap gives each result of its source once, then nothing") {
    const auto source = std::make_shared<Written<std::string>>();
    source->add("one");
    source->add("two");
    auto results = plait::detail::imap_of<std::string>(source, source->results.size(), nullptr);
    CHECK(results.next() == "one");
    CHECK(source->last_timeout->is_never());
    CHECK(results.next(3s) == "two");
    CHECK(source->last_timeout->duration() == 3s);
    CHECK(results.next() == std::nullopt);
    CHECK(results.next(0s) == std::nullopt);
}

TEST_CASE("a result that is not there in time can be asked for again") {
    const auto source = std::make_shared<Written<int>>();
    source->add(7);
    source->there = 0;
    auto results = plait::detail::imap_of<int>(source, source->results.size(), nullptr);
    CHECK_THROWS_AS(results.next(1ms), TimeoutError);
    source->there = 1;
    CHECK(results.next(1ms) == 7);
}

TEST_CASE("an Imap throws an item's error at its turn, and goes on") {
    const auto source = std::make_shared<Written<int>>();
    source->add(1);
    source->add(0);
    source->add(3);
    source->results[1].set_exception(error("two"));
    auto results = plait::detail::imap_of<int>(source, source->results.size(), nullptr);
    CHECK(results.next() == 1);
    CHECK_THROWS_WITH(results.next(), "two");
    CHECK(results.next() == 3);
}

TEST_CASE("the range's error comes behind the last result, once") {
    const auto source = std::make_shared<Written<int>>();
    source->add(1);
    auto results = plait::detail::imap_of<int>(source, source->results.size(), error("no more"));
    CHECK(results.next() == 1);
    CHECK_THROWS_WITH(results.next(), "no more");
    CHECK(results.next() == std::nullopt);
}

TEST_CASE("an Imap can be gone through, with results that only move, and of void") {
    const auto source = std::make_shared<Written<std::unique_ptr<int>>>();
    source->add(std::make_unique<int>(1));
    source->add(std::make_unique<int>(2));
    int sum = 0;
    for (auto& each : plait::detail::imap_of<std::unique_ptr<int>>(source, source->results.size(), nullptr))
        sum += *each;
    CHECK(sum == 3);

    const auto nothing = std::make_shared<Written<void>>();
    nothing->add();
    nothing->add();
    int count = 0;
    for ([[maybe_unused]] const auto& each : plait::detail::imap_of<void>(nothing, nothing->results.size(), nullptr))
        ++count;
    CHECK(count == 2);
}

TEST_CASE("an Imap that goes tells its source, and one that was moved from does not") {
    const auto source = std::make_shared<Written<int>>();
    source->add(1);
    const auto other = std::make_shared<Written<int>>();
    {
        auto results = plait::detail::imap_of<int>(source, source->results.size(), nullptr);
        auto moved = std::move(results);
        CHECK(source->left == 0);
        CHECK_THROWS_AS(results.next(), UsageError);
        results = plait::detail::imap_of<int>(other, other->results.size(), nullptr);
        moved = std::move(results);
        CHECK(source->left == 1);
        CHECK(other->left == 0);
    }
    CHECK(source->left == 1);
    CHECK(other->left == 1);
    CHECK(source.use_count() == 1);
}
