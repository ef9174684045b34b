#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What do pools of processes keep of what one takes for granted, when something dies?

    pool_promises.py PROGRAM [EXPERIMENT...]

PROGRAM is pool_promises.cpp, compiled. Each cell of the table is an experiment in a program of its own, which is ended
with all that it leaves behind; what waits for ever is "never answered". Python's multiprocessing.Pool and
ProcessPoolExecutor take part, and loky and pebble where they are installed. PLAIT_BENCHMARK_QUICK=1 waits 2 s, not 5.
"""

import concurrent.futures
import ctypes
import importlib.util
import multiprocessing
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

DEADLINE = 2 if "PLAIT_BENCHMARK_QUICK" in os.environ else 5
NEVER = f"never answered ({DEADLINE} s)"
NO_SUCH_THING = "no such thing"
MARK = "PLAIT_PROMISE"  # in the environment of an experiment, and so of all that it starts

# The experiments, and what each would like to see.
PROMISES = {
    "killed": "a task whose worker is SIGKILLed gets an error",
    "others": "the other tasks, and the pool, go on",
    "idle": "a worker SIGKILLed while idle does no harm",
    "all_idle": "nor do all of them",
    "exit": "a task that calls exit(0) gets an error, the pool goes on",
    "quick_exit": "a task that calls _exit(0): likewise",
    "closes": "a task that closes all descriptors: an answer, the pool goes on",
    "time_limit": "a task over its time limit is ended, the pool goes on",
    "cancel": "a running task can be cancelled, the pool goes on",
    "initializer_throws": "an initializer that throws is told to who waits",
    "initializer_crashes": "an initializer that crashes: likewise",
    "max_tasks": "two tasks a worker, and chunks of three: ten results",
    "half_read": "an argument of 100 MiB, its reader is killed: an answer, the pool goes on",
    "argument": "an argument that cannot be decoded fails that task, the pool goes on",
    "result": "a result that cannot be encoded: likewise",
    "result_there": "a result that cannot be decoded: likewise",
    "exception": "an exception that cannot be made again: likewise",
    "callback": "a callback that throws harms nobody else",
    "terminate": "10,000 queued tasks get an error from terminate",
    "stopped": "terminate ends a worker that is stopped (SIGSTOP)",
    "parent_busy": "the parent SIGKILLed while two workers are busy: processes left 2 s later",
    "parent_idle": "the same while they are idle",
}


def say(what):
    print(what, flush=True)


# ---- What tasks do, and callbacks


called_back = threading.Event()


def square(x):
    return x * x


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def close_all():
    os.closerange(0, 1024)
    return 7


def doze(seconds):
    time.sleep(seconds)
    return seconds


def fail():
    raise ValueError("the initializer failed")


def explode():
    raise ValueError("it cannot be decoded")


class Undecodable:
    def __reduce__(self):
        return explode, ()


class Unencodable:
    def __reduce__(self):
        raise ValueError("it cannot be encoded")


class PickyError(Exception):
    """Pickle makes it again from one argument, and fails."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def raise_picky():
    raise PickyError("this", "that")


def boom(_result):
    called_back.set()
    raise ValueError("the callback failed")


# ---- Python's pools


class MpPool:
    timeout_error = multiprocessing.TimeoutError

    def __init__(self, workers, initializer=None, max_tasks=None, **unknown):
        if unknown:
            raise NotImplementedError
        self.pool = multiprocessing.Pool(workers, initializer, maxtasksperchild=max_tasks)

    def submit(self, function, *arguments):
        return self.pool.apply_async(function, arguments)

    def get(self, handle):
        return handle.get(DEADLINE)

    def call_back(self, argument, callback):
        return self.pool.apply_async(square, (argument,), callback=callback)

    def map(self, function, items, chunk):
        return self.pool.map_async(function, items, chunk).get(DEADLINE)

    def cancel(self, handle):
        raise NotImplementedError

    def pids(self):
        return [worker.pid for worker in self.pool._pool]

    def terminate(self):
        self.pool.terminate()
        self.pool.join()

    def end(self):
        self.pool.terminate()  # as at the end of `with`


class Executor:
    timeout_error = concurrent.futures.TimeoutError
    kind = concurrent.futures.ProcessPoolExecutor

    def __init__(self, workers, initializer=None, max_tasks=None, **unknown):
        if unknown:
            raise NotImplementedError
        options = {} if max_tasks is None else {"max_tasks_per_child": max_tasks}
        self.pool = self.kind(workers, initializer=initializer, **options)

    def submit(self, function, *arguments):
        return self.pool.submit(function, *arguments)

    def get(self, handle):
        return handle.result(DEADLINE)

    def call_back(self, argument, callback):
        handle = self.submit(square, argument)
        handle.add_done_callback(callback)
        return handle

    def map(self, function, items, chunk):
        return list(self.pool.map(function, items, chunksize=chunk, timeout=DEADLINE))

    def cancel(self, handle):
        return handle.cancel()

    def pids(self):
        return list(self.pool._processes)

    def terminate(self):
        self.pool.shutdown(cancel_futures=True)

    def end(self):
        self.pool.shutdown()


class Loky(Executor):
    def __init__(self, workers, max_tasks=None, **options):
        if max_tasks is not None:
            raise NotImplementedError
        self.kind = __import__("loky").ProcessPoolExecutor
        super().__init__(workers, **options)

    def terminate(self):
        self.pool.shutdown(kill_workers=True)


class Pebble(Executor):
    def __init__(self, workers, initializer=None, max_tasks=0, task_timeout=None):
        self.pool = __import__("pebble").ProcessPool(workers, max_tasks=max_tasks, initializer=initializer)
        self.task_timeout = task_timeout

    def submit(self, function, *arguments):
        return self.pool.schedule(function, args=arguments, timeout=self.task_timeout)

    def map(self, function, items, chunk):
        return list(self.pool.map(function, items, chunksize=chunk).result(DEADLINE))

    def pids(self):
        return list(self.pool._pool_manager.worker_manager.workers)

    def terminate(self):
        self.pool.stop()
        self.pool.join()

    def end(self):
        self.pool.close()
        self.pool.join()


LIBRARIES = {"mp.Pool": MpPool, "ProcessPoolExecutor": Executor}
LIBRARIES |= {name: kind for name, kind in {"loky": Loky, "pebble": Pebble}.items() if importlib.util.find_spec(name)}


# ---- The experiments, with one of them


class Experiments:
    def __init__(self, library):
        self.library = library
        self.pool = None

    def make(self, workers=2, **options):
        self.pool = self.library(workers, **options)

    def warm(self, workers=2):
        """All workers run when it ends."""
        for handle in [self.pool.submit(doze, 0.1) for _ in range(2 * workers)]:
            self.pool.get(handle)

    def outcome(self, wait):
        began = time.monotonic()
        try:
            wait()
        except concurrent.futures.CancelledError:
            return "cancelled"
        except BaseException as error:
            took = time.monotonic() - began
            if isinstance(error, self.library.timeout_error) and took >= DEADLINE:
                return NEVER
            return f"{type(error).__name__} after {took * 1000:.1f} ms"
        return "a value"

    def tell(self, handle):
        say(self.outcome(lambda: self.pool.get(handle)))

    def goes_on(self):
        def again():
            assert [self.pool.get(handle) for handle in [self.pool.submit(square, x) for x in range(4)]] == [0, 1, 4, 9]

        after = self.outcome(again)
        say({"a value": "goes on", NEVER: "then nothing is answered"}.get(after, "pool dead"))

    def task(self, function, *arguments):
        self.make()
        self.tell(self.pool.submit(function, *arguments))
        self.goes_on()

    def killed(self):
        self.make()
        self.tell(self.pool.submit(die))

    def others(self):
        self.make()
        others = [self.pool.submit(doze, 0.1) for _ in range(4)]
        self.pool.submit(die)
        others += [self.pool.submit(doze, 0.1) for _ in range(4)]
        lost = sum(self.outcome(lambda: self.pool.get(other)) != "a value" for other in others)
        say(f"{lost} of {len(others)} lost" if lost else "none lost")
        self.goes_on()

    def idle(self, all_of_them=False):
        self.make()
        self.warm()
        pids = self.pool.pids()
        for pid in pids if all_of_them else pids[:1]:
            os.kill(pid, signal.SIGKILL)
        self.goes_on()

    def all_idle(self):
        self.idle(all_of_them=True)

    def exit(self):
        self.task(sys.exit, 0)

    def quick_exit(self):
        self.task(os._exit, 0)

    def closes(self):
        self.task(close_all)

    def time_limit(self):
        self.make(task_timeout=0.2)
        self.tell(self.pool.submit(doze, 3 * DEADLINE))
        self.goes_on()

    def cancel(self):
        self.make(workers=1)
        self.warm(workers=1)
        handle = self.pool.submit(doze, DEADLINE / 2)
        time.sleep(0.2)
        if not self.pool.cancel(handle):
            say("refused")
            return
        self.tell(handle)
        self.goes_on()

    def initializer_throws(self):
        self.make(initializer=fail)
        self.tell(self.pool.submit(square, 7))

    def initializer_crashes(self):
        self.make(initializer=die)
        self.tell(self.pool.submit(square, 7))

    def max_tasks(self):
        self.make(workers=1, max_tasks=2)
        say(self.outcome(lambda: self.pool.map(square, range(10), 3)).replace("a value", "all there"))

    def half_read(self):
        self.make(workers=1)
        self.warm(workers=1)
        reader = self.pool.pids()[0]
        os.kill(reader, signal.SIGSTOP)
        handle = self.pool.submit(len, bytes(100 << 20))
        time.sleep(0.2)
        os.kill(reader, signal.SIGKILL)
        self.tell(handle)
        self.goes_on()

    def argument(self):
        self.task(repr, Undecodable())

    def result(self):
        self.task(Unencodable)

    def result_there(self):
        self.task(Undecodable)

    def exception(self):
        self.task(raise_picky)

    def callback(self):
        self.make()
        self.pool.call_back(7, boom)
        called_back.wait()
        self.goes_on()

    def terminate(self):
        self.make()
        handles = [self.pool.submit(doze, 0.01) for _ in range(10_000)]
        self.pool.terminate()
        self.tell(handles[-1])

    def stopped(self):
        self.make()
        self.warm()
        self.pool.submit(stop)
        time.sleep(0.2)
        began = time.monotonic()
        ending = threading.Thread(target=self.pool.terminate, daemon=True)
        ending.start()
        ending.join(DEADLINE)
        say(f"never returns ({DEADLINE} s)" if ending.is_alive() else f"after {time.monotonic() - began:.1f} s")
        if ending.is_alive():
            os._exit(0)

    def parent_busy(self):
        self.make()
        self.warm()
        busy = [self.pool.submit(doze, 60) for _ in range(2)]
        time.sleep(0.2)
        say("kill me")
        self.pool.get(busy[0])

    def parent_idle(self):
        self.make()
        self.warm()
        say("kill me")
        time.sleep(60)


def experiment(library, name):
    experiments = Experiments(LIBRARIES[library])
    try:
        getattr(experiments, name)()
    except NotImplementedError:
        say(NO_SUCH_THING)
    say("done")
    if experiments.pool is not None:
        experiments.pool.end()


# ---- Who runs them


def become_subreaper():
    """So that what an experiment leaves behind is ours to reap."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def left_behind(mark):
    """The processes that have the mark in their environment. (One that has ended shows none.)"""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted in environment:
                found.append(int(entry.name))
    return found


def count_left(mark, seconds):
    """How many there are when the time is over, or none before."""
    limit = time.monotonic() + seconds
    while (left := len(left_behind(mark))) and time.monotonic() < limit:
        time.sleep(0.02)
    return left


def end_all(mark):
    while left := left_behind(mark):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def lines_until(stream, seconds):
    """The lines that come until the time is over, or the writer has said that there will be no more."""
    limit = time.monotonic() + seconds
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0, limit - time.monotonic())):
            more = os.read(stream.fileno(), 4096)
            text += more
            if not more or text.endswith((b"done\n", b"kill me\n")):
                break
    return text.decode().splitlines()


def cell(command, number):
    """What the experiment says, and whether it and all its processes came to an end."""
    mark = f"{os.getpid()}.{number}"
    with subprocess.Popen(
        command, env=os.environ | {MARK: mark}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as program:
        try:
            said = lines_until(program.stdout, 4 * DEADLINE)
            if said[-1:] == ["kill me"]:
                program.kill()
                program.wait()
                left = count_left(mark, 2)
                return str(left) if left else "none"
            if said[-1:] == ["done"]:
                said.pop()
            try:
                code = program.wait(DEADLINE)
                if code < 0:
                    said.append(f"the program dies of {signal.Signals(-code).name}")
                elif left := count_left(mark, 1):
                    said.append(f"leaves {left} process{'es' if left > 1 else ''}")
            except subprocess.TimeoutExpired:
                said.append("the program cannot end" if said else NEVER)
            return "; ".join(said) or "nothing"
        finally:
            end_all(mark)


def print_table(table):
    widths = [max(map(len, column)) for column in zip(*table)]
    for number, row in enumerate(table):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main():
    program, *names = sys.argv[1:]
    become_subreaper()
    table = [["promise", *LIBRARIES, "plait"]]
    for name in names or PROMISES:
        print(name, file=sys.stderr, flush=True)
        commands = [[sys.executable, __file__, "--experiment", library, name] for library in LIBRARIES]
        commands.append([program, "--experiment", name, str(DEADLINE)])
        cells = [cell(command, f"{name}.{number}") for number, command in enumerate(commands)]
        table.append([PROMISES[name], *cells])
    print_table(table)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-h"):
        sys.exit(__doc__)
    if sys.argv[1] == "--experiment":
        experiment(*sys.argv[2:])
    else:
        main()
