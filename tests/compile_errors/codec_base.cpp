// expect: plait: a struct with a base class has no automatic codec
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct Base {
    int a;
};
struct Derived : Base {
    int b;
};

auto write(const Derived& value) { return plait::multiprocessing::encode(value); }
