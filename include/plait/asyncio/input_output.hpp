// SPDX-License-Identifier: MIT
#pragma once

// What asyncio waits for besides time, tasks and threads: sockets, pipes, other processes, signals.

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/datagram.hpp>
#include <plait/asyncio/open_connection.hpp>
#include <plait/asyncio/process.hpp>
#include <plait/asyncio/readiness.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/signals.hpp>
#include <plait/asyncio/stream_reader.hpp>
#include <plait/asyncio/stream_writer.hpp>
#include <plait/asyncio/subprocess.hpp>
