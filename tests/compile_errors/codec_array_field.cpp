// expect: plait: a struct that holds a C array has no automatic codec: use std::array
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct Name {
    char text[16];
    int length;
};

auto write(const Name& name) { return plait::multiprocessing::encode(name); }
