// SPDX-License-Identifier: MIT
#pragma once

// Processes that run plain functions, what crosses to them, and a pool of them that a crash cannot take down.

#include <plait/multiprocessing/array.hpp>
#include <plait/multiprocessing/barrier.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/condition.hpp>
#include <plait/multiprocessing/connection.hpp>
#include <plait/multiprocessing/cpu_count.hpp>
#include <plait/multiprocessing/event.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/isolated.hpp>
#include <plait/multiprocessing/joinable_queue.hpp>
#include <plait/multiprocessing/lock.hpp>
#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/process_info.hpp>
#include <plait/multiprocessing/progress_bar.hpp>
#include <plait/multiprocessing/queue.hpp>
#include <plait/multiprocessing/register_exception.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/semaphore.hpp>
#include <plait/multiprocessing/shared_memory.hpp>
#include <plait/multiprocessing/simple_queue.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/multiprocessing/value.hpp>
#include <plait/multiprocessing/wait.hpp>

namespace plait::inline PLAIT_ABI {

namespace mp = multiprocessing;

}  // namespace plait::inline PLAIT_ABI
