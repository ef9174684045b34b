// expect: plait: the body of a task_group returns a Coroutine; write -> Coroutine<void> after its parameters
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

plait::asyncio::Coroutine<void> work() { co_return; }
plait::asyncio::Coroutine<void> body_without_type() {
    co_await plait::asyncio::task_group([](plait::asyncio::TaskGroup& group) { group.create_task(work()); });
}
