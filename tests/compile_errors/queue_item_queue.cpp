// expect: plait: a lock, a queue, a connection or the like cannot be a queue's item
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/queue.hpp>

plait::multiprocessing::Queue<plait::multiprocessing::Queue<int>> make() {
    return plait::multiprocessing::Queue<plait::multiprocessing::Queue<int>>();
}
