#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's event loops, asyncio's own and uvloop, for the benchmarks of plait's: reads rounds, a line each, such as
"uvloop await_child 1000", and answers with their figures."""

import asyncio
import os
import sys
import threading
import time

try:
    import uvloop
except ImportError:
    uvloop = None


def run(loops, coroutine):
    loop = loops()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


async def child(x):
    return x


async def yielding_child(x):
    await asyncio.sleep(0)
    return x


async def awaits(one, count):
    began = time.perf_counter_ns()
    for i in range(count):
        await one(i)
    return (time.perf_counter_ns() - began) / count


def await_child(loops, count):
    return [run(loops, awaits(child, count))]


def await_yielding_child(loops, count):
    return [run(loops, awaits(yielding_child, count))]


async def yielder(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


async def yielders(tasks, turns):
    began = time.perf_counter_ns()
    await asyncio.gather(*(yielder(turns) for _ in range(tasks)))
    return (time.perf_counter_ns() - began) / tasks / turns


def take_turns(loops, tasks, turns):
    return [run(loops, yielders(tasks, turns))]


def resident():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def sleeper(i, count, memory):
    if i + 1 == count:
        memory.append(resident())
    await asyncio.sleep(i * 7919 % 1000 / 1000)


async def sleepers(count):
    memory = [resident()]
    began, processor = time.perf_counter_ns(), time.process_time_ns()
    await asyncio.gather(*(sleeper(i, count, memory) for i in range(count)))
    return [
        time.perf_counter_ns() - began,
        (time.process_time_ns() - processor) / count,
        (memory[1] - memory[0]) / count,
    ]


def sleep(loops, count):
    # In a child, whose memory is as it was at the first round.
    reader, writer = os.pipe()
    sleeping = os.fork()
    if sleeping == 0:
        try:
            os.write(writer, " ".join(map(str, run(loops, sleepers(count)))).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        values = [float(value) for value in answer.read().split()]
    os.waitpid(sleeping, 0)
    return values


def timers(loops, count):
    loop = loops()
    now = loop.time()
    times = [now + 1 + i * 7919 % 1_000_000 / 1000 for i in range(count)]
    began = time.perf_counter_ns()
    handles = [loop.call_at(each, print) for each in times]
    created = time.perf_counter_ns()
    for handle in handles:
        handle.cancel()
    cancelled = time.perf_counter_ns()
    loop.close()
    return [(created - began) / count, (cancelled - created) / count]


def posts(loops, count):
    loop = loops()
    left = count

    def come():
        nonlocal left
        left -= 1
        if left == 0:
            loop.stop()

    def post():
        for _ in range(count):
            loop.call_soon_threadsafe(come)

    poster = threading.Thread(target=post)
    began = time.perf_counter_ns()
    poster.start()
    loop.run_forever()
    poster.join()
    took = time.perf_counter_ns() - began
    loop.close()
    return [took / count]


def round_trips(loops, count):
    here, there = loops(), loops()
    left = count

    def come_back():
        nonlocal left
        left -= 1
        if left != 0:
            there.call_soon_threadsafe(answer)
        else:
            there.call_soon_threadsafe(there.stop)
            here.stop()

    def answer():
        here.call_soon_threadsafe(come_back)

    other = threading.Thread(target=there.run_forever)
    began = time.perf_counter_ns()
    other.start()
    there.call_soon_threadsafe(answer)
    here.run_forever()
    other.join()
    took = time.perf_counter_ns() - began
    here.close()
    there.close()
    return [took / count]


async def locks(count):
    lock = asyncio.Lock()
    began = time.perf_counter_ns()
    for _ in range(count):
        await lock.acquire()
        lock.release()
    return (time.perf_counter_ns() - began) / count


async def queues(count):
    queue = asyncio.Queue(16)
    began = time.perf_counter_ns()
    for i in range(count):
        await queue.put(i)
        await queue.get()
    return (time.perf_counter_ns() - began) / count


def lock_and_unlock(loops, count):
    return [run(loops, locks(count))]


def put_and_get(loops, count):
    return [run(loops, queues(count))]


WORKS = {
    work.__name__: work
    for work in (
        await_child,
        await_yielding_child,
        take_turns,
        sleep,
        timers,
        posts,
        round_trips,
        lock_and_unlock,
        put_and_get,
    )
}


def main():
    loops = {"asyncio": asyncio.SelectorEventLoop}
    if uvloop is not None:
        loops["uvloop"] = uvloop.new_event_loop
    for line in sys.stdin:
        if line.strip() == "end":
            break
        loop, work, *counts = line.split()
        print(*WORKS[work](loops[loop], *map(int, counts)), flush=True)


if __name__ == "__main__":
    main()
