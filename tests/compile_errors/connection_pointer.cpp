// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>

void send(plait::multiprocessing::Connection& end, int number) {
#if defined(NO_MISTAKE)
    end.send(number);
#else
    end.send(&number);
#endif
}
