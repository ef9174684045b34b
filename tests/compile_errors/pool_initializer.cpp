// expect: plait: this callable cannot go to another process: a lambda with captures needs this program's memory
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

plait::multiprocessing::PoolOptions options(int number) {
    return {.initializer = [number] { return number; }};
}
