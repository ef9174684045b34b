// expect: plait: a pointer cannot be shared between processes
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/value.hpp>

void make() { plait::multiprocessing::Value<int*> value; }
