#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's side of textbook.cpp: reads rounds, a line each, and answers with the nanoseconds that both jobs took."""

import asyncio
import multiprocessing
import sys
import time
from multiprocessing.pool import ThreadPool
from threading import Thread

NAPS = 3


def count_primes(limit):
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))


def doze(milliseconds):
    for _ in range(NAPS):
        time.sleep(milliseconds / 1000)


async def doze_async(milliseconds):
    for _ in range(NAPS):
        await asyncio.sleep(milliseconds / 1000)


async def doze_both(milliseconds):
    await asyncio.gather(doze_async(milliseconds), doze_async(milliseconds))


JOBS = {"compute": count_primes, "sleep": doze}


def serial(job, size):
    job(size)
    job(size)


def started(kind, job, size):
    jobs = [kind(target=job, args=(size,)) for _ in range(2)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()


class Peer:
    def __init__(self):
        self.processes = multiprocessing.Pool(2)
        self.threads = ThreadPool(2)

    def do(self, job, way, size):
        if way == "serial":
            serial(JOBS[job], size)
        elif way == "Thread":
            started(Thread, JOBS[job], size)
        elif way == "Process":
            started(multiprocessing.Process, JOBS[job], size)
        elif way == "ThreadPool":
            self.threads.map(JOBS[job], [size, size], 1)
        elif way == "Pool":
            self.processes.map(JOBS[job], [size, size], 1)
        elif way == "asyncio":
            asyncio.run(doze_both(size))
        else:
            sys.exit(f"no such way: {way}")


def main():
    peer = Peer()
    for line in sys.stdin:
        if line.strip() == "end":
            break
        job, way, size = line.split()
        began = time.perf_counter_ns()
        peer.do(job, way, int(size))
        print(time.perf_counter_ns() - began, flush=True)
    peer.processes.close()
    peer.processes.join()


if __name__ == "__main__":
    main()
