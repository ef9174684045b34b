// expect: give a function object's type, such as std::greater<>: a pointer would be null
// SPDX-License-Identifier: MIT
#include <plait/threading/priority_queue.hpp>

plait::threading::PriorityQueue<int, bool (*)(int, int)> queue;
