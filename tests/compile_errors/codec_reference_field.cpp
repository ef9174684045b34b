// expect: plait: a struct that holds a reference has no automatic codec
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <string>

struct Named {
    const std::string& name;
    int number;
};

auto write(const Named& named) { return plait::multiprocessing::encode(named); }
