// expect: the task runs on, but its result and its errors are lost to you
// flags: -Werror=unused-result
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

plait::asyncio::Coroutine<void> work() { co_return; }
plait::asyncio::Coroutine<void> start() {
    plait::asyncio::create_task(work());
    co_return;
}
