// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

int* find(int number);

int* call(plait::multiprocessing::Pool& pool) { return pool.apply(find, 1); }
