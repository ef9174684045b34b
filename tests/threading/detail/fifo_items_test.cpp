// SPDX-License-Identifier: MIT
#include <plait/threading/detail/fifo_items.hpp>

#include "support/catch.hpp"

#include <memory>

using plait::threading::detail::FifoItems;
using plait::threading::detail::Turnstile;

TEST_CASE("fifo items leave in the order in which they came, while nobody needs the putting turnstile") {
    FifoItems<std::unique_ptr<int>> items;
    decltype(items)::PutEnd put;
    decltype(items)::TakeEnd take;
    Turnstile putting;
    putting.acquire();  // as another thread would that puts
    items.put(put, std::make_unique<int>(1));
    items.put(put, std::make_unique<int>(2));
    items.put(put, std::make_unique<int>(3));
    CHECK(*items.take(putting, put, take) == 1);
    CHECK(*items.take(putting, put, take) == 2);
    items.discard(items.detach(put, take), 1);
    items.put(put, std::make_unique<int>(4));
    CHECK(*items.take(putting, put, take) == 4);
    items.discard(items.detach(put, take), 0);
    putting.release();
}
