// expect: plait: a barrier's action runs in whichever process arrives last, so it cannot be a lambda with captures
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/barrier.hpp>

void make(int& rounds) {
    const plait::multiprocessing::Barrier barrier{2, [&rounds] { ++rounds; }};
}
