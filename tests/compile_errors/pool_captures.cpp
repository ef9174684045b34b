// expect: plait: this callable cannot go to another process: a lambda with captures needs this program's memory
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

int call(plait::multiprocessing::Pool& pool, int number) {
    return pool.apply([number](int a) { return a + number; }, 1);
}
