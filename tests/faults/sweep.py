#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Has each system call of a piece of work fail once, in turn, with each error that it may plausibly have.

    sweep.py PROGRAM SCENARIO [--all] [--children]

First the calls are counted, between two marks in strace's log; then the program runs once for each of them. Without
--all each call fails with the first of its errors, and of many calls of one kind the first six and the last do. With
--children the calls of the program's other threads and of its children fail too: the n-th call of each of them. Exit
status 77 where strace cannot be used.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ERRORS = {
    "accept4": ["EMFILE", "EINTR"],
    "clone": ["EAGAIN", "ENOMEM"],
    "clone3": ["EAGAIN", "ENOMEM"],
    "dup": ["EMFILE"],
    "dup2": ["EINTR", "EMFILE"],
    "dup3": ["EINTR", "EMFILE"],
    "eventfd2": ["EMFILE", "ENFILE", "ENOMEM"],
    "execve": ["EACCES", "ENOENT", "ENOMEM", "E2BIG"],
    "fallocate": ["ENOSPC", "ENOMEM"],
    "fchdir": ["EACCES"],
    "fcntl": ["EMFILE"],
    "fork": ["EAGAIN", "ENOMEM"],
    "fstat": ["ENOMEM"],
    "newfstatat": ["ENOMEM"],
    "ftruncate": ["ENOSPC", "EINTR"],
    "memfd_create": ["EMFILE", "ENFILE", "ENOMEM", "ENOSYS"],
    "mmap": ["ENOMEM"],
    "openat": ["EMFILE", "ENFILE", "EACCES"],
    # Of these two not ENOSYS or EPERM: the program asks once whether there are such calls, its children again.
    "pidfd_open": ["EMFILE", "ENFILE", "ENOMEM"],
    # Not ESRCH, which says that the process has ended: of one that has not, it is a lie that nobody can see through.
    "pidfd_send_signal": ["EINVAL", "ENOMEM"],
    "pipe2": ["EMFILE", "ENFILE"],
    "poll": ["EINTR", "ENOMEM"],
    "ppoll": ["EINTR", "ENOMEM"],
    "prctl": ["EPERM"],
    "prlimit64": ["EPERM"],
    "read": ["EINTR", "EIO"],
    "recvfrom": ["EINTR", "ECONNRESET", "ENOMEM"],
    "recvmsg": ["EINTR", "ECONNRESET", "EMFILE", "ENOMEM"],
    "rt_sigprocmask": [],
    "sched_setaffinity": ["EPERM"],
    "sendmsg": ["EINTR", "EPIPE", "ENOBUFS", "ETOOMANYREFS"],
    "sendto": ["EINTR", "EPIPE", "ENOBUFS"],
    "setpgid": ["EPERM"],
    "setpriority": ["EPERM"],
    "socketpair": ["EMFILE", "ENFILE", "ENOBUFS"],
    "vfork": ["EAGAIN", "ENOMEM"],
    "wait4": ["EINTR"],
    "waitid": ["EINTR"],
    "write": ["EINTR", "EPIPE"],
    "writev": ["EINTR", "EPIPE"],
}
DEADLINE = 60


def strace(options, program, scenario, log):
    more = ["--children"] if "-f" in options else []
    # A session of its own: strace stops what it is to start for a moment, and where a group of processes is left without
    # a parent outside while one of them is stopped, the system sends all of them SIGHUP.
    return subprocess.run(["strace", "-o", str(log), *options, program, scenario, *more], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=DEADLINE, start_new_session=True)


def count_calls(log):
    """The numbers that the calls between the marks have among all of their name and thread."""
    seen = collections.Counter()
    wanted = collections.defaultdict(set)
    inside = False
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"(\d+ +)?(\w+)\(", line)
        if not call:
            continue
        thread, name = call.groups()
        seen[thread, name] += 1
        if '"/plait-begin"' in line:
            inside = True
        elif '"/plait-end"' in line:
            inside = False
        elif inside and ERRORS.get(name):
            wanted[name].add(seen[thread, name])
    return {name: sorted(numbers) for name, numbers in wanted.items()}


def missed_the_work(log):
    """Whether the fault came outside of the marks. How often a program asks for memory differs from run to run."""
    inside = elsewhere = False
    for line in log.read_text(errors="replace").splitlines():
        if '"/plait-begin"' in line or '"/plait-end"' in line:
            inside = not inside
        elif "(INJECTED)" in line:
            if inside:
                return False
            elsewhere = True
    return elsewhere


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("scenario")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--children", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print("strace is not installed")
        return 77

    with tempfile.TemporaryDirectory() as work:
        log = Path(work) / "log"
        follow = ["-f"] if arguments.children else []
        first = strace(follow, arguments.program, arguments.scenario, log)
        if "ptrace" in first.stderr and first.returncode != 0:
            print(first.stderr)
            return 77
        if first.returncode != 0:
            print(f"it fails without any fault:\n{first.stdout}{first.stderr}")
            return 1
        runs = failures = told = missed = 0
        for call, numbers in sorted(count_calls(log).items()):
            errors = ERRORS[call] if arguments.all else ERRORS[call][:1]
            if not arguments.all and len(numbers) > 7:
                numbers = numbers[:6] + numbers[-1:]
            for error in errors:
                for number in numbers:
                    options = [*follow, "-e", f"inject={call}:error={error}:when={number}"]
                    runs += 1
                    try:
                        result = strace(options, arguments.program, arguments.scenario, log)
                    except subprocess.TimeoutExpired:
                        print(f"HANG   {call} number {number}: {error}")
                        failures += 1
                        continue
                    if missed_the_work(log):
                        missed += 1
                        continue
                    told += bool(result.stdout)
                    if result.returncode != 0:
                        print(f"FAILED {call} number {number}: {error}: status {result.returncode}\n"
                              f"{result.stdout}{result.stderr}")
                        failures += 1
    print(f"{arguments.scenario}: {runs} faults, {told} told by an exception, {missed} missed the work, {failures} failures")
    return 1 if failures or runs == missed else 0


if __name__ == "__main__":
    sys.exit(main())
