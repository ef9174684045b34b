// SPDX-License-Identifier: MIT
#pragma once

// Coroutines on an event loop, with the names of Python's asyncio.

#include <plait/asyncio/as_completed.hpp>
#include <plait/asyncio/async_generator.hpp>
#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/barrier.hpp>
#include <plait/asyncio/condition.hpp>
#include <plait/asyncio/context.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/lifo_queue.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/priority_queue.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/semaphore.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/task_tree.hpp>
#include <plait/asyncio/threadsafe.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/core/generator.hpp>

// Input and output: POSIX's so far.
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/input_output.hpp>
#endif
