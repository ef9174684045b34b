// SPDX-License-Identifier: MIT
#pragma once

// Threads and what they share: Python's threading and queue modules, and a pool of threads.

#include <plait/threading/barrier.hpp>
#include <plait/threading/condition.hpp>
#include <plait/threading/event.hpp>
#include <plait/threading/imap.hpp>
#include <plait/threading/lifo_queue.hpp>
#include <plait/threading/local.hpp>
#include <plait/threading/lock.hpp>
#include <plait/threading/pool.hpp>
#include <plait/threading/priority_queue.hpp>
#include <plait/threading/queue.hpp>
#include <plait/threading/rlock.hpp>
#include <plait/threading/semaphore.hpp>
#include <plait/threading/simple_queue.hpp>
#include <plait/threading/thread.hpp>
#include <plait/threading/thread_info.hpp>
#include <plait/threading/timer.hpp>
