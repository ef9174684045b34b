// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/array.hpp>

#include "support/catch.hpp"

#include <plait/multiprocessing/process.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using plait::multiprocessing::Array;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

struct Seven {
    int value = 7;
};
struct alignas(64) Apart {
    int value = 0;
};

void square(Array<double> numbers, std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) numbers[i] *= numbers[i];
}
void add_to_each(Array<int> numbers, int times) {
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{numbers.get_lock()};
        for (int& number : numbers) ++number;
    }
}

}  // namespace

TEST_CASE("an array begins with zeros, or with the elements it was given") {
    const Array<int> zeros(100);
    CHECK(zeros.size() == 100);
    CHECK(std::ranges::count(zeros, 0) == 100);
    const Array<long> copies(std::list<int>{1, 2, 3});
    CHECK(std::accumulate(copies.begin(), copies.end(), 0L) == 6);
    const Array<double> listed{0.5, 1.5};
    CHECK(listed[1] == 1.5);
    const Array<Seven> made(3);
    CHECK(made[2].value == 7);
    CHECK(zeros.span().data() == zeros.data());
}

TEST_CASE("an array's copies are the same array") {
    const Array<int> numbers(3);
    const Array<int> copy = numbers;
    copy[2] = 5;
    CHECK(numbers.at(2) == 5);
    CHECK(copy == numbers);
    CHECK_FALSE(copy == Array<int>(3));
}

TEST_CASE("an array is looked up within its bounds") {
    const Array<int> numbers(3);
    CHECK(numbers.at(2) == 0);
    CHECK_THROWS_AS(numbers.at(3), std::out_of_range);
    CHECK_THROWS_AS(numbers.at(SIZE_MAX), std::out_of_range);
}

TEST_CASE("an array's elements are aligned") {
    const Array<Apart> apart(3);
    CHECK(reinterpret_cast<std::uintptr_t>(&apart[2]) % 64 == 0);
    const Array<long double> numbers(2);
    CHECK(reinterpret_cast<std::uintptr_t>(numbers.data()) % alignof(long double) == 0);
}

TEST_CASE("an array of none, and one larger than any memory, are errors") {
    CHECK_THROWS_AS(Array<int>(0), std::invalid_argument);
    CHECK_THROWS_AS(Array<int>(std::vector<int>{}), std::invalid_argument);
    CHECK_THROWS_AS(Array<long>(SIZE_MAX), std::bad_alloc);
    CHECK_THROWS_AS(Array<char>(std::size_t{1} << 50), std::system_error);
}

TEST_CASE("two processes work on an array, each on its part, by every start method") {
    const auto method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const Array<double> numbers{1, 2, 3, 4};
    Process first(ProcessOptions{.start_method = method}, square, numbers, std::size_t{0}, std::size_t{2});
    Process second(ProcessOptions{.start_method = method}, square, numbers, std::size_t{2}, std::size_t{4});
    first.start();
    second.start();
    first.join();
    second.join();
    CHECK(std::vector<double>(numbers.begin(), numbers.end()) == std::vector<double>{1, 4, 9, 16});
}

TEST_CASE("an array's lock keeps two processes apart") {
    const Array<int> numbers(10);
    Process one(add_to_each, numbers, 1'000);
    Process other(add_to_each, numbers, 1'000);
    one.start();
    other.start();
    one.join();
    other.join();
    CHECK(std::ranges::count(numbers, 2'000) == 10);
    CHECK(Array<int>(numbers).get_lock() == numbers.get_lock());
}
