// expect: plait: this callable cannot go to another process: a lambda with captures
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/isolated.hpp>

auto call(int number) {
    return plait::multiprocessing::isolated([number] { return number; });
}
