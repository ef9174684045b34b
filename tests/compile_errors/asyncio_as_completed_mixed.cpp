// expect: plait: as_completed gives its results one after the other, so all must be of one type
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

plait::asyncio::Coroutine<int> number() { co_return 1; }
plait::asyncio::Coroutine<void> nothing() { co_return; }
plait::asyncio::Coroutine<void> mixed() {
    for (auto& next : plait::asyncio::as_completed(number(), nothing())) co_await next;
}
