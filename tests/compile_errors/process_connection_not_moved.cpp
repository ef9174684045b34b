// expect: plait: this argument cannot be copied, it moves: pass std::move(it)
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>
#include <plait/multiprocessing/process.hpp>

#include <utility>

void talk(plait::multiprocessing::Connection end);

void start(plait::multiprocessing::Connection& end) {
#if defined(NO_MISTAKE)
    plait::multiprocessing::Process child(talk, std::move(end));
#else
    plait::multiprocessing::Process child(talk, end);
#endif
}
