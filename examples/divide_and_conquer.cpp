// SPDX-License-Identifier: MIT
//
// How is a recursive divide-and-conquer written? With parallel_invoke: the halves run side by side, and the call returns
// when both are done. A pool's thread that waits for a half works on what that half still needs.
//
// Python has no such thing; a pool's task that waits for tasks of its own pool deadlocks there.

#include <plait/plait.hpp>

#include <algorithm>
#include <cstddef>
#include <iostream>
#include <random>
#include <span>
#include <vector>

namespace th = plait::threading;

th::ThreadPool pool;

void merge_sort(std::span<int> part, std::span<int> scratch) {
    if (part.size() <= 4096) return std::sort(part.begin(), part.end());
    const std::size_t half = part.size() / 2;
    pool.parallel_invoke([=] { merge_sort(part.first(half), scratch.first(half)); },
                         [=] { merge_sort(part.subspan(half), scratch.subspan(half)); });
    std::merge(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(half),
               part.begin() + static_cast<std::ptrdiff_t>(half), part.end(), scratch.begin());
    std::copy(scratch.begin(), scratch.end(), part.begin());
}

int main() {
    std::mt19937 random;
    std::vector<int> numbers(1'000'000);
    for (int& number : numbers) number = static_cast<int>(random() % 1'000'000);
    std::vector<int> scratch(numbers.size());
    merge_sort(numbers, scratch);
    const bool sorted = std::is_sorted(numbers.begin(), numbers.end());
    std::cout << numbers.size() << " numbers, " << (sorted ? "sorted" : "not sorted") << ", from " << numbers.front()
              << " to " << numbers.back() << '\n';
    return sorted ? 0 : 1;
}
