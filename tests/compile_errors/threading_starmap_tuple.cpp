// expect: starmap calls the callable with the elements of each tuple
// SPDX-License-Identifier: MIT
#include <plait/threading/pool.hpp>

#include <utility>
#include <vector>

int main() {
    plait::threading::ThreadPool pool;
    const std::vector<std::pair<int, int>> pairs{{1, 2}};
#if defined(NO_MISTAKE)
    pool.starmap([](int x, int y) { return x * y; }, pairs);
#else
    pool.starmap([](int x) { return x; }, pairs);
#endif
}
