// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

// What a task throws, as its caller sees it.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::ProcessDied;
using plait::RemoteError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;

namespace {

/// Nothing makes it again from a text alone.
class ParseError : public std::runtime_error {
public:
    ParseError(const std::string& file, int line)
        : std::runtime_error(file + ":" + std::to_string(line) + ": not understood") {}
};

struct Mute : std::exception {
    const char* what() const noexcept override { return nullptr; }
};
struct Shy : std::exception {
    const char* what() const noexcept override { return throw_it(); }
    static const char* throw_it() { throw 1; }
};

/// Throws while it is destroyed.
struct Explosive {
    ~Explosive() noexcept(false) { throw std::runtime_error("in a destructor"); }
};

int throw_parse_error(int line) { throw ParseError("config.ini", line); }
int throw_number(int number) { throw number; }
int throw_text(const std::string& text) { throw std::runtime_error(text); }
int throw_nested(int) {
    try {
        throw std::out_of_range("the inner one");
    } catch (...) {
        std::throw_with_nested(std::runtime_error("the outer one"));
    }
}
int throw_pointer(int) {
    std::exception_ptr inner = std::make_exception_ptr(std::invalid_argument("carried"));
    std::rethrow_exception(inner);
}
int throw_mute(int) { throw Mute(); }
int throw_shy(int) {
    ::signal(SIGABRT, SIG_DFL);
    throw Shy();
}
int throw_in_destructor(int) {
    ::signal(SIGABRT, SIG_DFL);
    Explosive explosive;
    throw std::runtime_error("in the function");
}
int throw_system_error(int number) { throw std::system_error(number, std::generic_category(), "opening"); }
int end_this_thread(int) {
    ::signal(SIGABRT, SIG_DFL);
    ::pthread_exit(nullptr);
}

}  // namespace

TEST_CASE("an error keeps its type and its text") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK(caught<std::runtime_error>([&] { pool.apply(throw_text, "exactly this"); }).value().what() ==
          std::string("exactly this"));
    const auto refused = caught<std::system_error>([&] { pool.apply(throw_system_error, EACCES); });
    CHECK(refused.value().code() == std::errc::permission_denied);
    CHECK_THAT(refused.value().what(), ContainsSubstring("opening"));
    CHECK_THROWS_AS(pool.apply([](int) -> int { throw std::bad_alloc(); }, 0), std::bad_alloc);
    CHECK_THROWS_AS(pool.apply([](int) -> int { throw std::bad_variant_access(); }, 0), std::exception);
    CHECK_THROWS_AS(pool.apply(throw_pointer, 0), std::invalid_argument);
    CHECK_THROWS_AS(pool.apply([](int) -> int { throw plait::TimeoutError("theirs"); }, 0), plait::TimeoutError);
}

TEST_CASE("an error of a type of the program's own tells its name, its text and where it was thrown") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const auto pids = pids_of(pool);
    const int thrower = pool.apply(own_pid, 0);
    const auto error = caught<RemoteError>([&] { pool.apply(throw_parse_error, 12); });
    REQUIRE(error);
    CHECK_THAT(error->type_name(), ContainsSubstring("ParseError"));
    CHECK(error->text() == "config.ini:12: not understood");
    CHECK_THAT(error->where(), ContainsSubstring("process "));
    if (shape.processes == 1) CHECK_THAT(error->where(), ContainsSubstring(std::to_string(thrower)));
    CHECK_THROWS_AS(pool.map(throw_parse_error, std::vector{1, 2, 3}, 1), RemoteError);
    CHECK(pool.apply(square, 3) == 9);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("what is no std::exception at all arrives by its type, and the worker lives on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const auto pids = pids_of(pool);
    CHECK(caught<RemoteError>([&] { pool.apply(throw_number, 42); }).value().type_name() == "int");
    CHECK_THAT(caught<RemoteError>([&] { pool.apply([](int) -> int { throw "a literal"; }, 0); }).value().type_name(),
               ContainsSubstring("char"));
    CHECK_THROWS_AS(pool.apply([](int) -> int { throw std::vector<int>{1}; }, 0), RemoteError);
    CHECK(pool.apply(square, 3) == 9);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("a nested error tells the texts of all") {
    Pool pool(any_shape().with());
    try {
        pool.apply(throw_nested, 0);
        FAIL("nothing was thrown");
    } catch (const std::exception& error) {
        CHECK_THAT(error.what(), ContainsSubstring("the outer one"));
        CHECK_THAT(error.what(), ContainsSubstring("the inner one"));
    }
}

TEST_CASE("an error whose text cannot be had is some error, and the pool goes on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK_THROWS_AS(pool.apply_async(throw_mute, 0).get(30s), plait::Error);
    CHECK_THROWS_AS(pool.apply_async(throw_shy, 0).get(30s), ProcessDied);
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("an error thrown while another unwinds ends that worker, and the pool goes on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK(caught<ProcessDied>([&] { pool.apply_async(throw_in_destructor, 0).get(30s); }).value().signal() == SIGABRT);
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("a task that ends its thread instead of returning costs that worker, not the answer") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const std::string end = end_of(pool.apply_async(end_this_thread, 0));
    CAPTURE(end);
    CHECK(end != "value");
    CHECK(end != "no answer");
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("texts of any bytes and any size arrive, the longest cut") {
    const Shape shape{GENERATE(1, 2), any_start_method()};
    CAPTURE(shape);
    Pool pool(shape.with());
    for (const std::string& text : {std::string("\xFF\xFE no UTF-8 \x80"), std::string(), std::string(4096, 'y')})
        CHECK(caught<std::runtime_error>([&] { pool.apply(throw_text, text); }).value().what() == text);
    const auto longest = caught<std::runtime_error>([&] { pool.apply(throw_text, std::string(32 << 20, 'x')); });
    CHECK(std::string(longest.value().what()).size() <= std::size_t{32} << 20);
    CHECK(std::string(longest.value().what()).starts_with("xxxx"));
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("every item of a map has its own error, and the first is thrown") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{4}, std::size_t{100});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    constexpr auto fail_late = [](int x) -> int {
        if (x == 7) throw std::out_of_range("seven");
        if (x == 3) throw ParseError("three", 3);
        if (x == 50) die_by(SIGKILL);
        return x;
    };
    CHECK_THAT(caught<RemoteError>([&] { pool.map(fail_late, numbers_up_to(60), chunk_size); }).value().what(),
               ContainsSubstring("three:3"));
}
