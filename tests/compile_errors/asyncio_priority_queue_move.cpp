// expect: a PriorityQueue moves its items about: where a move may throw, hold it in a std::unique_ptr
// SPDX-License-Identifier: MIT
#include <plait/asyncio/priority_queue.hpp>

struct Item {
    Item(Item&&);
    Item& operator=(Item&&);
};
bool operator<(const Item&, const Item&);

plait::asyncio::PriorityQueue<Item> queue;
