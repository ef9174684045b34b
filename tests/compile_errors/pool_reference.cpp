// expect: plait: a non-const reference parameter cannot be written back to this process
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

int increment(int& number);

int call(plait::multiprocessing::Pool& pool, int number) { return pool.apply(increment, number); }
