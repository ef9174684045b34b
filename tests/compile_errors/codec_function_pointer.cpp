// expect: plait: a function pointer is no data, for its address differs from process to process
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct Job {
    int number;
    void (*function)(int);
};

auto write(const Job& job) { return plait::multiprocessing::encode(job); }
