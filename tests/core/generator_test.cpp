// SPDX-License-Identifier: MIT
#include <plait/core/generator.hpp>

#include "support/catch.hpp"

#include <exception>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using plait::Generator;
using plait::StopIteration;
using plait::UsageError;
using plait::yield_from;

namespace {

// Deep enough that a frame of the stack for each would overflow it, in any build.
constexpr int deep = 100'000;

/// Appends its name to a list when it is destroyed.
class Witness {
public:
    Witness(std::vector<std::string>& log, std::string name) : log_{&log}, name_{std::move(name)} {}
    Witness(Witness&& other) noexcept : log_{std::exchange(other.log_, nullptr)}, name_{std::move(other.name_)} {}
    Witness& operator=(Witness&&) = delete;
    ~Witness() {
        if (log_ != nullptr) log_->push_back(name_);
    }

private:
    std::vector<std::string>* log_;
    std::string name_;
};

Generator<int> count(int from, int to) {
    for (int i = from; i < to; ++i) co_yield i;
}

Generator<int> count_and_fail(int to) {
    for (int i = 0; i < to; ++i) co_yield i;
    throw std::runtime_error("after the last");
}

Generator<std::string, int> consumer(std::vector<std::string>& log) {
    std::string answer;
    while (const int n = co_yield answer) {
        log.push_back("consuming " + std::to_string(n));
        answer = "200 OK";
    }
}

void produce(Generator<std::string, int>& consumer, std::vector<std::string>& log) {
    consumer.next();
    for (int n = 1; n <= 2; ++n) {
        log.push_back("producing " + std::to_string(n));
        log.push_back("the consumer returned " + consumer.send(n));
    }
    consumer.close();
}

Generator<double, double> running_average() {
    double sum = 0;
    double average = 0;
    for (int n = 1;; ++n) {
        sum += co_yield average;
        average = sum / n;
    }
}

Generator<int> descend(int levels) {
    if (levels == 0)
        co_yield 7;
    else
        co_yield yield_from(descend(levels - 1));
    co_yield levels;
}
Generator<int> descend_and_fail(int levels) {
    if (levels == 0) throw std::runtime_error("at the bottom");
    co_yield yield_from(descend_and_fail(levels - 1));
}
Generator<int> around(Generator<int> inner) { co_yield yield_from(inner); }

Generator<int> hold(Witness witness, Generator<int> inner) {
    static_cast<void>(witness);
    co_yield yield_from(std::move(inner));
}
Generator<int> stand(Witness witness) {
    static_cast<void>(witness);
    for (;;) co_yield 1;
}

template <class G>
std::vector<int> all_of(G&& generator) {
    std::vector<int> items;
    for (const int item : generator) items.push_back(item);
    return items;
}

}  // namespace

TEST_CASE("a generator begins when it is first resumed, and stops at each co_yield") {
    int steps = 0;
    const auto body = [&]() -> Generator<int> {
        ++steps;
        co_yield 1;
        ++steps;
        co_yield 2;
        ++steps;
    };
    auto generator = body();
    CHECK(steps == 0);
    CHECK_FALSE(generator.done());
    CHECK(generator.next() == 1);
    CHECK(steps == 1);
    CHECK(generator.next() == 2);
    CHECK(steps == 2);
    CHECK_FALSE(generator.done());
    CHECK_THROWS_AS(generator.next(), StopIteration);
    CHECK(steps == 3);
    CHECK(generator.done());
    CHECK_THROWS_AS(generator.next(), plait::Error);
}

TEST_CASE("a producer sends to a consumer, which answers") {
    std::vector<std::string> log;
    auto c = consumer(log);
    produce(c, log);
    CHECK(log == std::vector<std::string>{"producing 1", "consuming 1", "the consumer returned 200 OK", "producing 2",
                                          "consuming 2", "the consumer returned 200 OK"});
    CHECK(c.done());
}

TEST_CASE("what is sent is what co_yield gives; a fresh generator begins by it, and nobody receives it") {
    auto average = running_average();
    CHECK(average.send(1000) == 0);
    CHECK(average.send(10) == 10);
    CHECK(average.send(20) == 15);
    CHECK(average.next() == 10);  // it sends 0
}

TEST_CASE("a consumer that is sent its end gives StopIteration") {
    std::vector<std::string> log;
    auto c = consumer(log);
    CHECK(c.next().empty());
    CHECK_THROWS_AS(c.send(0), StopIteration);
    CHECK_THROWS_AS(c.send(1), StopIteration);
    CHECK(log.empty());
}

TEST_CASE("a range-for takes what is still to come") {
    auto generator = count(0, 6);
    CHECK(generator.next() == 0);
    CHECK(generator.next() == 1);
    std::vector<int> first;
    for (const int item : generator) {
        first.push_back(item);
        if (item == 3) break;
    }
    CHECK(first == std::vector<int>{2, 3});
    CHECK(all_of(generator) == std::vector<int>{4, 5});
    CHECK(all_of(generator).empty());
    STATIC_REQUIRE(std::input_iterator<Generator<int>::Iterator>);
    STATIC_REQUIRE(std::sentinel_for<std::default_sentinel_t, Generator<int>::Iterator>);
}

TEST_CASE("a range-for of a generator that is closed within ends") {
    auto generator = count(0, 6);
    int rounds = 0;
    for (const int item : generator) {
        rounds += item + 1;
        generator.close();
    }
    CHECK(rounds == 1);
}

TEST_CASE("a generator gives values that move only, that have no default, that convert, and references") {
    const auto owners = []() -> Generator<std::unique_ptr<int>> {
        co_yield std::make_unique<int>(1);
        auto named = std::make_unique<int>(2);
        co_yield std::move(named);
    };
    auto of_owners = owners();
    CHECK(*of_owners.next() == 1);
    for (auto& owner : of_owners) {
        const std::unique_ptr<int> taken = std::move(owner);
        CHECK(*taken == 2);
    }

    struct NoDefault {
        explicit NoDefault(int v) : value{v} {}
        int value;
    };
    const auto no_defaults = []() -> Generator<NoDefault, NoDefault> {
        const NoDefault got = co_yield NoDefault{1};
        co_yield NoDefault{got.value + 1};
    };
    auto of_no_defaults = no_defaults();
    CHECK(of_no_defaults.send(NoDefault{5}).value == 1);
    CHECK(of_no_defaults.send(NoDefault{6}).value == 7);

    const auto texts = []() -> Generator<std::string> {
        co_yield "literal";
        const std::string kept = "kept, and longer than what a string holds in itself";
        co_yield kept;
        co_yield kept;
    };
    auto of_texts = texts();
    CHECK(of_texts.next() == "literal");
    const std::string first = of_texts.next();
    CHECK(of_texts.next() == first);

    const auto pairs = []() -> Generator<std::pair<int, char>> { co_yield {3, 'x'}; };
    CHECK(pairs().next() == std::pair{3, 'x'});

    std::vector<int> values{1, 2, 3};
    const auto references = [](std::vector<int>& vector) -> Generator<int&> {
        for (int& value : vector) co_yield value;
    };
    for (int& value : references(values)) value *= 10;
    auto of_references = references(values);
    int& front = of_references.next();
    CHECK(&front == values.data());
    CHECK(values == std::vector<int>{10, 20, 30});

    const auto read_only = []() -> Generator<const std::string&> { co_yield "a temporary lives until the resumption"; };
    for (const std::string& text : read_only()) CHECK(text.size() == 38);
}

TEST_CASE("what can only be moved, and references, can be sent") {
    const auto sum = []() -> Generator<int, std::unique_ptr<int>> {
        int total = 0;
        while (const std::unique_ptr<int> n = co_yield total) total += *n;
    };
    auto of_owners = sum();
    CHECK(of_owners.next() == 0);
    CHECK(of_owners.send(std::make_unique<int>(3)) == 3);
    CHECK(of_owners.send(std::make_unique<int>(4)) == 7);

    const auto doubling = []() -> Generator<int, int&> {
        for (;;) {
            int& n = co_yield 0;
            n *= 2;
        }
    };
    int x = 4;
    auto of_references = doubling();
    of_references.send(x);
    of_references.send(x);
    CHECK(x == 8);
}

TEST_CASE("an exception of the body reaches who resumes, and ends the generator") {
    auto generator = count_and_fail(1);
    CHECK(generator.next() == 0);
    CHECK_THROWS_WITH(generator.next(), "after the last");
    CHECK(generator.done());
    CHECK_THROWS_AS(generator.next(), StopIteration);
    CHECK_THROWS_WITH(all_of(count_and_fail(2)), "after the last");
}

TEST_CASE("what is thrown into a generator is thrown at its co_yield") {
    const auto stubborn = []() -> Generator<std::string, int> {
        std::string answer = "ready";
        for (;;) {
            try {
                const int n = co_yield answer;
                answer = std::to_string(n);
            } catch (const std::runtime_error& error) {
                answer = error.what();
            }
        }
    };
    auto generator = stubborn();
    generator.next();
    CHECK(generator.throw_into(std::make_exception_ptr(std::runtime_error("thrown in"))) == "thrown in");
    CHECK(generator.send(3) == "3");
    CHECK_THROWS_AS(generator.throw_into(std::make_exception_ptr(std::logic_error("other"))), std::logic_error);
    CHECK(generator.done());

    const auto error = std::make_exception_ptr(std::runtime_error("thrown in"));
    CHECK_THROWS_WITH(generator.throw_into(error), "thrown in");
    CHECK_THROWS_AS(generator.throw_into(nullptr), std::invalid_argument);
    auto fresh = count(0, 3);
    CHECK_THROWS_WITH(fresh.throw_into(error), "thrown in");
    CHECK(fresh.done());
    auto catching = [](const std::exception_ptr& thrown) -> Generator<int> {
        bool caught = false;
        try {
            co_yield 1;
        } catch (const std::runtime_error&) {
            caught = static_cast<bool>(thrown);
        }
        if (!caught) co_yield 2;
    }(error);
    CHECK(catching.next() == 1);
    CHECK_THROWS_AS(catching.throw_into(error), StopIteration);
}

TEST_CASE("close and the destructor end a generator where it stands") {
    std::vector<std::string> log;
    {
        auto closed = stand(Witness{log, "closed"});
        CHECK(closed.next() == 1);
        closed.close();
        CHECK(log == std::vector<std::string>{"closed"});
        closed.close();
        CHECK(closed.done());
        CHECK_THROWS_AS(closed.next(), StopIteration);
        auto destroyed = stand(Witness{log, "destroyed"});
        CHECK(destroyed.next() == 1);
        const auto fresh = stand(Witness{log, "fresh"});
    }
    CHECK(log == std::vector<std::string>{"closed", "fresh", "destroyed"});
}

TEST_CASE("a generator can be moved wherever it stands") {
    auto generator = count(0, 5);
    CHECK(generator.next() == 0);
    Generator<int> moved = std::move(generator);
    CHECK(moved.next() == 1);
    CHECK(generator.done());  // NOLINT(bugprone-use-after-move)
    CHECK_THROWS_AS(generator.next(), StopIteration);
    generator = count(10, 12);
    std::swap(generator, moved);
    CHECK(generator.next() == 2);
    CHECK(all_of(moved) == std::vector<int>{10, 11});
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Generator<int>>);
}

TEST_CASE("a generator that resumes or closes itself is told so") {
    Generator<int>* self = nullptr;
    int refused = 0;
    const auto body = [&]() -> Generator<int> {
        try {
            self->next();
        } catch (const UsageError&) {
            ++refused;
        }
        try {
            self->close();
        } catch (const UsageError&) {
            ++refused;
        }
        co_yield refused;
        self->next();
    };
    auto generator = body();
    self = &generator;
    CHECK(generator.next() == 2);
    CHECK_THROWS_AS(generator.next(), UsageError);
    CHECK(generator.done());
}

TEST_CASE("a generator whose body moves it away goes on where it is then") {
    std::vector<Generator<int>> kept;
    Generator<int>* self = nullptr;
    const auto body = [&]() -> Generator<int> {
        co_yield 1;
        kept.push_back(std::move(*self));
        co_yield 2;
    };
    auto generator = body();
    self = &generator;
    CHECK(generator.next() == 1);
    CHECK(generator.next() == 2);
    CHECK(generator.done());
    CHECK_THROWS_AS(kept.at(0).next(), StopIteration);
    CHECK(kept.at(0).done());

    const auto to_its_end = [&]() -> Generator<int> {
        co_yield 1;
        kept.push_back(std::move(*self));
    };
    auto last = to_its_end();
    self = &last;
    CHECK(last.next() == 1);
    CHECK_THROWS_AS(last.next(), StopIteration);
    CHECK(kept.at(1).done());
}

TEST_CASE("yield_from yields all of another, and passes on what is sent and thrown in") {
    const auto echo = [](std::string name) -> Generator<std::string, int> {
        std::string answer = name;
        for (int round = 0; round < 2; ++round) {
            try {
                const int n = co_yield answer;
                answer = name + std::to_string(n);
            } catch (const std::runtime_error&) {
                answer = name + "!";
            }
        }
    };
    const auto both = [&]() -> Generator<std::string, int> {
        co_yield yield_from(echo("a"));
        auto named = echo("b");
        co_yield yield_from(named);
        co_yield named.done() ? "taken over" : "kept";
    };
    auto generator = both();
    CHECK(generator.send(100) == "a");
    CHECK(generator.send(1) == "a1");
    CHECK(generator.send(2) == "b");
    CHECK(generator.throw_into(std::make_exception_ptr(std::runtime_error("thrown in"))) == "b!");
    CHECK(generator.send(3) == "taken over");
    CHECK_THROWS_AS(generator.next(), StopIteration);
}

TEST_CASE("yield_from goes on with what has begun, or has ended") {
    auto begun = around(around(count(0, 4)));
    CHECK(begun.next() == 0);
    CHECK(begun.next() == 1);
    auto ended = count(0, 0);
    CHECK_THROWS_AS(ended.next(), StopIteration);
    auto body = [](Generator<int> first, Generator<int> second) -> Generator<int> {
        co_yield yield_from(first);
        co_yield yield_from(second);
        co_yield 100;
    };
    auto generator = body(std::move(ended), std::move(begun));
    CHECK(all_of(generator) == std::vector<int>{2, 3, 100});

    const auto needy = []() -> Generator<int, std::reference_wrapper<int>> { co_yield (co_yield 1).get(); };
    auto other = needy();
    int x = 3;
    CHECK(other.send(x) == 1);
    auto outer = [](Generator<int, std::reference_wrapper<int>> inner) -> Generator<int, std::reference_wrapper<int>> {
        co_yield yield_from(inner);
    }(std::move(other));
    CHECK_THROWS_AS(outer.send(x), UsageError);
}

TEST_CASE("an exception of what is yielded from comes out of the yield_from") {
    const auto catching = []() -> Generator<int> {
        int seen = 0;
        try {
            co_yield yield_from(count_and_fail(2));
        } catch (const std::runtime_error&) {
            seen = 42;
        }
        co_yield seen;
    };
    CHECK(all_of(catching()) == std::vector<int>{0, 1, 42});
    CHECK_THROWS_WITH(all_of(around(count_and_fail(1))), "after the last");
}

TEST_CASE("a nest of generators is destroyed from the innermost outwards") {
    std::vector<std::string> log;
    {
        auto nest = hold(Witness{log, "outer"}, hold(Witness{log, "middle"}, stand(Witness{log, "inner"})));
        CHECK(nest.next() == 1);
        CHECK(log.empty());
    }
    CHECK(log == std::vector<std::string>{"inner", "middle", "outer"});
}

TEST_CASE("a nest a hundred thousand deep yields, unwinds, and is destroyed, begun or not") {
    auto nest = descend(deep);
    CHECK(nest.next() == 7);
    for (int i = 0; i <= deep; ++i) REQUIRE(nest.next() == i);
    CHECK_THROWS_AS(nest.next(), StopIteration);

    auto failing = descend_and_fail(deep);
    CHECK_THROWS_WITH(failing.next(), "at the bottom");

    auto abandoned = descend(deep);
    CHECK(abandoned.next() == 7);
    abandoned.close();

    auto chain = count(0, 3);
    auto unused = count(0, 3);
    for (int i = 0; i < deep; ++i) {
        chain = around(std::move(chain));
        unused = around(std::move(unused));
    }
    CHECK(all_of(chain) == std::vector<int>{0, 1, 2});
    CHECK_FALSE(unused.done());
}
