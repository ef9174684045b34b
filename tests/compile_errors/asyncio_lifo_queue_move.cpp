// expect: a LifoQueue that grows moves its items: where a move may throw, hold it in a std::unique_ptr
// SPDX-License-Identifier: MIT
#include <plait/asyncio/lifo_queue.hpp>

struct Item {
    Item(Item&&);
    Item& operator=(Item&&);
};

plait::asyncio::LifoQueue<Item> queue;
