// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/queue.hpp>

void make() { plait::multiprocessing::Queue<const char*> queue; }
