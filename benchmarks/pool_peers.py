#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One of Python's process pools, as a peer of process_pool.cpp.

    pool_peers.py mp.Pool|ProcessPoolExecutor WORKERS

It reads rounds, a line each, and answers with the nanoseconds that one operation took.
"""

import mmap
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from threading import Thread


class MpPool:
    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def apply(self, function, argument):
        return self.pool.apply(function, (argument,))

    def map(self, function, items, chunk):
        return self.pool.map(function, items, chunk)

    def end(self):
        self.pool.close()
        self.pool.join()


class Executor:
    def __init__(self, workers):
        self.pool = ProcessPoolExecutor(workers)

    def apply(self, function, argument):
        return self.pool.submit(function, argument).result()

    def map(self, function, items, chunk):
        return list(self.pool.map(function, items, chunksize=chunk))

    def end(self):
        self.pool.shutdown()


KINDS = {"mp.Pool": MpPool, "ProcessPoolExecutor": Executor}


def square(x):
    return x * x


def echo(data):
    return data


class Peer:
    def __init__(self, kind, workers):
        self.kind, self.workers = KINDS[kind], workers
        self.made = None
        self.ballast = None

    @property
    def pool(self):
        if self.made is None:
            self.made = self.kind(self.workers)
        return self.made

    def end(self):
        if self.made is not None:
            self.made.end()

    def apply(self, count):
        """One call after the other."""
        pool = self.pool
        began = time.perf_counter_ns()
        for _ in range(count):
            assert pool.apply(square, 7) == 49
        return (time.perf_counter_ns() - began) / count

    def rested(self, count):
        """The call alone, each after a rest."""
        pool, total = self.pool, 0
        for _ in range(count):
            time.sleep(0.001)
            began = time.perf_counter_ns()
            assert pool.apply(square, 7) == 49
            total += time.perf_counter_ns() - began
        return total / count

    def map(self, count, chunk):
        """Numbers squared; chunks of 0 are those that mp.Pool chooses."""
        pool, numbers = self.pool, range(count)
        began = time.perf_counter_ns()
        squares = pool.map(square, numbers, chunk or -(-count // (4 * self.workers)))
        took = time.perf_counter_ns() - began
        assert squares[-1] == (count - 1) ** 2
        return took / count

    def echo(self, size, count):
        pool, data = self.pool, bytes(size)
        began = time.perf_counter_ns()
        for _ in range(count):
            assert len(pool.apply(echo, data)) == size
        return (time.perf_counter_ns() - began) / count

    def threads(self, threads, count):
        """Each of the threads makes `count` calls."""
        pool = self.pool

        def call():
            for _ in range(count):
                assert pool.apply(square, 7) == 49

        callers = [Thread(target=call) for _ in range(threads)]
        began = time.perf_counter_ns()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return (time.perf_counter_ns() - began) / (threads * count)

    def load(self, size):
        """Memory in small pages, each of them used."""
        self.ballast = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.ballast.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, size, mmap.PAGESIZE):
            self.ballast[page] = 1
        return 0

    def start(self, count):
        """A pool made, two calls at once, and its end."""
        began = time.perf_counter_ns()
        for _ in range(count):
            pool = self.kind(self.workers)
            assert pool.map(square, [7, 8], 1) == [49, 64]
            pool.end()
        return (time.perf_counter_ns() - began) / count


def main():
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        name, *numbers = line.split()
        if name == "end":
            peer.end()
            break
        print(getattr(peer, name)(*map(int, numbers)), flush=True)


if __name__ == "__main__":
    main()
