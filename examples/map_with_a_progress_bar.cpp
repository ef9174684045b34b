// SPDX-License-Identifier: MIT
//
// How does a long map show how far it has come? By a bar on standard error, or by a callable of one's own.
//
// Python, with tqdm:
//
//     with multiprocessing.Pool(4) as pool:
//         factors = list(tqdm(pool.imap(smallest_factor, numbers), desc="factoring", total=len(numbers)))

#include <plait/plait.hpp>

#include <cstddef>
#include <iostream>
#include <vector>

namespace mp = plait::multiprocessing;

long smallest_factor(long number) {
    for (long factor = 2; factor * factor <= number; ++factor)
        if (number % factor == 0) return factor;
    return number;
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    std::vector<long> numbers;
    for (long number = 1'000'000'000'001; numbers.size() < 500; number += 2) numbers.push_back(number);

    mp::Pool pool(4);
    mp::ProgressBar bar("factoring");
    const auto factors = pool.map(smallest_factor, numbers, {.chunk_size = 1, .progress = bar});
    // factoring:  42%|█████████▋             | 210/500 [00:01<00:01, 168/s]

    std::size_t primes = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i)
        if (factors[i] == numbers[i]) ++primes;
    std::cout << primes << " of " << numbers.size() << " are prime\n";

    std::size_t told = 0;
    pool.map(smallest_factor, numbers, {.progress = [&](std::size_t done, std::size_t) { told = done; }});
    std::cout << "the last that was told: " << told << '\n';
}
