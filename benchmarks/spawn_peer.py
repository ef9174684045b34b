#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's ways to run a program and have its output, for the benchmark of plait's: reads rounds, a line each, such as
"asyncio 100", and answers with the nanoseconds that one took."""

import asyncio
import subprocess
import sys
import time

try:
    import uvloop
except ImportError:
    uvloop = None

COMMAND = ("/bin/echo", "hello")
EXPECTED = b"hello\n"


def by_subprocess(count):
    began = time.perf_counter_ns()
    for _ in range(count):
        assert subprocess.run(COMMAND, stdout=subprocess.PIPE, check=True).stdout == EXPECTED
    return (time.perf_counter_ns() - began) / count


async def by_loop(count):
    began = time.perf_counter_ns()
    for _ in range(count):
        child = await asyncio.create_subprocess_exec(*COMMAND, stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        assert out == EXPECTED and child.returncode == 0
    return (time.perf_counter_ns() - began) / count


def main():
    for line in sys.stdin:
        if line.strip() == "end":
            break
        how, count = line.split()
        if how == "subprocess":
            took = by_subprocess(int(count))
        else:
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy() if how == "uvloop" else None)
            took = asyncio.run(by_loop(int(count)))
        print(took, flush=True)


if __name__ == "__main__":
    main()
