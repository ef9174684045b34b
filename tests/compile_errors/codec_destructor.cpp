// expect: plait: a struct with a destructor, or an assignment, of its own owns something
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct File {
    int descriptor;
    ~File() {}
};

auto write(const File& file) { return plait::multiprocessing::encode(file); }
