// SPDX-License-Identifier: MIT
#pragma once

// Everything: threads, processes and coroutines.

#include <plait/asyncio.hpp>
#include <plait/multiprocessing.hpp>
#include <plait/threading.hpp>
