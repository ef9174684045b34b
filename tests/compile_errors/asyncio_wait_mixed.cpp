// expect: plait: wait gives its tasks back in vectors, so all must be of one type
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

plait::asyncio::Coroutine<int> number() { co_return 1; }
plait::asyncio::Coroutine<void> nothing() { co_return; }
plait::asyncio::Coroutine<void> mixed() { co_await plait::asyncio::wait(number(), nothing()); }
