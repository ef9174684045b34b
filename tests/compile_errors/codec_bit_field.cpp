// expect: plait: a struct that holds a bit-field has no automatic codec
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct Flags {
    unsigned few : 3;
    unsigned many;
};

auto write(const Flags& flags) { return plait::multiprocessing::encode(flags); }
