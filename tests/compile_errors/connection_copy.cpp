// expect: plait: a Connection moves: send(std::move(connection)), which leaves none here
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>

#include <utility>

void send(plait::multiprocessing::Connection& through, plait::multiprocessing::Connection& end) {
#if defined(NO_MISTAKE)
    through.send(std::move(end));
#else
    through.send(end);
#endif
}
