// expect: a coroutine that is neither awaited nor made a task never runs
// flags: -Werror=unused-result
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

plait::asyncio::Coroutine<void> work() { co_return; }
plait::asyncio::Coroutine<void> forget() {
    work();
    co_return;
}
