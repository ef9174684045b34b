// expect: plait: this callable cannot go to another process: a lambda with captures needs this program's memory
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

plait::multiprocessing::PoolOptions options(int number) {
#if defined(NO_MISTAKE)
    return {.initializer = plait::multiprocessing::Initializer([](int) {}, number)};
#else
    return {.initializer = [number] { return number; }};
#endif
}
