// SPDX-License-Identifier: MIT
#pragma once

// What asyncio waits for besides time, tasks and threads: sockets, pipes, other processes, signals.

#include <plait/asyncio/readiness.hpp>
