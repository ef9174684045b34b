// expect: plait: a Coroutine can await coroutines, tasks, futures and what this library offers; wrap anything else
// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>

#include <coroutine>

plait::asyncio::Coroutine<void> forever() { co_await std::suspend_always{}; }
