#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's echo servers for the benchmark of plait's: reads which, a line such as "uvloop streams", answers with its port
and its process, and serves until the next line."""

import asyncio
import os
import sys

try:
    import uvloop
except ImportError:
    uvloop = None


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve(style):
    if style == "streams":
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
    else:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], os.getpid(), flush=True)
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, end.set)
    await end.wait()


def main():
    which, style = sys.stdin.readline().split()
    loop = uvloop.new_event_loop() if which == "uvloop" else asyncio.SelectorEventLoop()
    loop.run_until_complete(serve(style))


if __name__ == "__main__":
    main()
