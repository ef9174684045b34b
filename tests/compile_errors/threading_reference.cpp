// expect: give std::ref(x) where it takes a reference
// SPDX-License-Identifier: MIT
#include <plait/threading/pool.hpp>

#include <functional>

void count(int& number) { ++number; }

int main() {
    plait::threading::ThreadPool pool;
    int number = 0;
#if defined(NO_MISTAKE)
    pool.post(count, std::ref(number));
#else
    pool.post(count, number);
#endif
}
