#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What does one include cost the compiler?

    include_cost.py [COMPILER]

Row F: seconds to compile a file that only includes, by turns, medians; the lines that the preprocessor leaves; and the
macros that the library leaves behind. PLAIT_BENCHMARK_QUICK=1 takes one round.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILER = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CXX", "c++")
ROUNDS = 1 if "PLAIT_BENCHMARK_QUICK" in os.environ else 7
FLAGS = ["-std=c++20", "-O2", "-pthread", "-I", str(ROOT / "include")]

# Name, headers, and what is found in the paths of the library's own files.
BARE = "thread, mutex, future, functional, chrono, coroutine"
PLAIT = "plait/plait.hpp"
CONTENDERS = [
    ("an empty file", [], None),
    (BARE, BARE.split(", "), None),
    ("asio.hpp", ["asio.hpp"], "/asio"),
    ("tbb/tbb.h", ["tbb/tbb.h"], r"/(tbb|oneapi)/"),
    ("boost/process.hpp", ["boost/process.hpp"], "/boost/"),
    ("plait/threading.hpp", ["plait/threading.hpp"], "/plait/"),
    ("plait/asyncio.hpp", ["plait/asyncio.hpp"], "/plait/"),
    ("plait/multiprocessing.hpp", ["plait/multiprocessing.hpp"], "/plait/"),
    (PLAIT, [PLAIT], "/plait/"),
    ("single_include/plait/plait.hpp", [str(ROOT / "single_include/plait/plait.hpp")], "/plait/"),
]


def compile_time(source):
    started = time.perf_counter()
    subprocess.run([COMPILER, *FLAGS, "-c", source, "-o", os.devnull], check=True)
    return time.perf_counter() - started


def preprocessed(source):
    command = [COMPILER, *FLAGS, "-E", "-dD", source]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return result.stdout if result.returncode == 0 else None


def macros_left(text, own_files):
    left, own = set(), False
    for line in text.splitlines():
        if marker := re.match(r'# \d+ "(.*)"', line):
            own = re.search(own_files, marker.group(1)) is not None
        elif definition := re.match(r"#define (\w+)", line):
            if own:
                left.add(definition.group(1))
        elif end := re.match(r"#undef (\w+)", line):
            left.discard(end.group(1))
    return left


def main():
    with tempfile.TemporaryDirectory() as folder:
        sources, lines, macros = {}, {}, {}
        for number, (name, headers, own_files) in enumerate(CONTENDERS):
            source = Path(folder) / f"{number}.cpp"
            source.write_text("".join(f'#include "{h}"\n' if h[0] == "/" else f"#include <{h}>\n" for h in headers))
            text = preprocessed(source)
            if text is None:
                print(f"    ({name} is not installed: left out)")
                continue
            sources[name] = source
            lines[name] = sum(1 for line in text.splitlines() if line.strip() and not line.startswith("#"))
            macros[name] = len(macros_left(text, own_files)) if own_files else ""

        times = {name: [] for name in sources}
        for turn in range(-1, ROUNDS):
            for name in list(sources)[:: -1 if turn % 2 else 1]:
                seconds = compile_time(sources[name])
                if turn >= 0:
                    times[name].append(seconds)

    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"F: compile a file that only includes, {COMPILER} -O2 [s]")
    print("    target: plait.hpp at most 0.9 s, a wing 0.7 s; ten macros")
    columns = ("median", "least", "most", "/bare", "/plait", "lines", "macros")
    print(f"    {'':52}" + "".join(f" {column:>8}" for column in columns))
    for name, values in times.items():
        figures = [median[name], min(values), max(values), median[name] / median[BARE], median[name] / median[PLAIT]]
        print(f"    {name:52}" + "".join(f" {figure:8.2f}" for figure in figures) + f" {lines[name]:8} {macros[name]:>8}")


if __name__ == "__main__":
    main()
