// SPDX-License-Identifier: MIT
#pragma once

// Processes that run plain functions, what crosses to them, and a pool of them that a crash cannot take down.

#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/start_method.hpp>

namespace plait::inline PLAIT_ABI {

namespace mp = multiprocessing;

}  // namespace plait::inline PLAIT_ABI
