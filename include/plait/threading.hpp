// SPDX-License-Identifier: MIT
#pragma once

// Threads and what they share: Python's threading module, and a pool of threads.

#include <plait/threading/event.hpp>
#include <plait/threading/lock.hpp>
#include <plait/threading/pool.hpp>
#include <plait/threading/rlock.hpp>
#include <plait/threading/thread.hpp>
#include <plait/threading/thread_info.hpp>
