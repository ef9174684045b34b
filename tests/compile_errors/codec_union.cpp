// expect: plait: a union does not know which member it holds: use std::variant
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

union Either {
    int number;
    float real;
};

auto write(const Either& either) { return plait::multiprocessing::encode(either); }
