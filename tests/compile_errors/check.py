#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compiles one of the mistakes in this folder, which has to fail with the sentence that its first line expects.

    // expect: <text of the error>
    // flags: <flags for the compiler>       (may be left out)

check.py FILE --include FOLDER -- COMPILER [FLAGS...]

The same file is compiled with -DNO_MISTAKE first, where it mentions that macro: then it has to pass.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path


def comment(lines, name):
    start = f"// {name}: "
    return next((line[len(start):].strip() for line in lines[:4] if line.startswith(start)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--include", required=True, help="the folder of plait's headers")
    end = sys.argv.index("--")  # what follows is the compiler and its flags
    arguments, compiler = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]

    text = arguments.file.read_text()
    lines = text.splitlines()
    expected = comment(lines, "expect")
    if not expected:
        sys.exit(f"{arguments.file.name}: there is no `// expect: <text>` in the first lines")
    flags = shlex.split(comment(lines, "flags") or "")

    def compile_with(*more):
        command = [*compiler, "-std=c++20", "-fsyntax-only", "-I", arguments.include, *flags, *more, str(arguments.file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    if "NO_MISTAKE" in text:
        control = compile_with("-DNO_MISTAKE")
        if control.returncode != 0:
            sys.exit(f"it does not compile without the mistake either:\n{control.stderr}")
    result = compile_with()
    if result.returncode == 0:
        sys.exit("the mistake compiled")
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    if not any(expected in line for line in errors):
        sys.exit(f"no error says {expected!r}:\n{result.stderr}")
    print("\n".join(errors))


if __name__ == "__main__":
    main()
