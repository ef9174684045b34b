// SPDX-License-Identifier: MIT
#pragma once

// Coroutines on an event loop, with the names of Python's asyncio.

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/asyncio/threadsafe.hpp>
#include <plait/asyncio/wait.hpp>
#include <plait/asyncio/wait_for.hpp>
