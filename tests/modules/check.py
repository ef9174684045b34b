#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds small programs of several modules, or in one of several ways, and runs them.

check.py libraries --visibility default|hidden …   executables and two libraries, each of which includes plait
check.py identity --how pie|no_pie|…           …   a program whose processes have to find its functions again
    … --include FOLDER --work FOLDER -- COMPILER [FLAGS...]

Exits with 77 where the compiler, or what it needs for this, is not there.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# g++ 12 takes the insides of a std::optional for uninitialised at -O1.
QUIET = ["-Wno-unknown-warning-option", "-Wno-maybe-uninitialized"]
FOLD = ["-Wl,--icf=all", "-Wl,--gc-sections"]
SECTIONS = ["-O1", "-ffunction-sections", "-fdata-sections"]
IDENTITY = {  # for the compiler, for the linker
    "pie": (["-fPIE"], ["-pie"]),
    "no_pie": (["-fno-pie"], ["-no-pie"]),
    "static": (["-fno-pie"], ["-static"]),
    "static_pie": (["-fPIE"], ["-static-pie"]),
    "lto": (["-O1", "-flto=auto", *QUIET], ["-O1", "-flto=auto", *QUIET]),
    "no_build_id": (["-fPIE"], ["-pie", "-Wl,--build-id=none"]),
    # Functions of the same content become one: that must make no difference.
    "folded_by_gold": (SECTIONS, ["-fuse-ld=gold", *FOLD]),
    "folded_by_lld": (SECTIONS, ["-fuse-ld=lld", *FOLD]),
}


class Builder:
    def __init__(self, compiler, include, work):
        if shutil.which(compiler[0]) is None:
            skip(f"{compiler[0]} is not installed")
        self.compiler = compiler
        self.include = include
        self.work = work
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)

    def can_make(self, *flags):
        probe = self.work / "probe.cpp"
        probe.write_text("#include <version>\nint main() {}\n")
        return self.compile("-std=c++20", *flags, probe, "-o", self.work / "probe").returncode == 0

    def compile(self, *arguments):
        return subprocess.run([*self.compiler, *map(str, arguments)], capture_output=True, text=True, check=False)

    def make(self, output, *arguments):
        """Not a word is allowed, of the linker neither."""
        result = self.compile("-std=c++20", "-Wall", "-Wextra", "-I", self.include, *arguments, "-o", self.work / output)
        if result.returncode != 0 or result.stderr:
            sys.exit(f"{' '.join(map(str, result.args))}\n{result.stderr}")
        return self.work / output


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}: {result.returncode}\n{result.stdout}{result.stderr}")


def check_libraries(builder, visibility):
    if not builder.can_make():
        skip("the compiler, or its library, does not work here")
    flags = [f"-fvisibility={visibility}"]
    if visibility == "hidden":
        flags.append("-fvisibility-inlines-hidden")
    source = builder.make("library.o", "-c", "-fPIC", *flags, HERE / "library.cpp")
    libraries = []
    for number in (1, 2):
        own = builder.make(f"number{number}.o", "-c", "-fPIC", *flags, f"-DNUMBER={number}", HERE / "number.cpp")
        libraries.append(builder.make(f"libnumber{number}.so", "-shared", "-pthread", source, own,
                                      f"-Wl,-soname,libnumber{number}.so"))
    main = builder.make("executable.o", "-c", "-fPIE", *flags, HERE / "executable.cpp")
    run(builder.make("host", HERE / "host.cpp"), libraries[0])
    # What plait shows is one where the executable shows it to what it loads, and not else.
    run(builder.make("plain", "-pie", "-pthread", main), "SEPARATE", *libraries)
    run(builder.make("rdynamic", "-pie", "-pthread", "-rdynamic", main), "SHARED", *libraries)
    # An executable that is linked to a library shows what that one has too.
    linked = builder.make("linked.o", "-c", "-fPIE", *flags, "-DLINKED", HERE / "executable.cpp")
    run(builder.make("linked", "-pie", "-pthread", linked, libraries[0], f"-Wl,-rpath,{builder.work}"), "SHARED", *libraries)


def check_identity(builder, how):
    compiling, linking = IDENTITY[how]
    if not builder.can_make(*compiling, *linking):
        skip(f"no program can be made so here: {' '.join(linking)}")
    objects = [builder.make(f"{name}.o", "-c", *compiling, HERE / f"{name}.cpp") for name in ("identity", "identity_other")]
    run(builder.make("identity", *linking, "-pthread", *objects))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("libraries", "identity"))
    parser.add_argument("--visibility", choices=("default", "hidden"), default="default")
    parser.add_argument("--how", choices=IDENTITY, default="pie")
    parser.add_argument("--include", required=True, help="the folder of plait's headers")
    parser.add_argument("--work", required=True, type=Path, help="a folder for what is built")
    end = sys.argv.index("--")  # what follows is the compiler and its flags
    arguments, compiler = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]

    builder = Builder(compiler, arguments.include, arguments.work.resolve())
    if arguments.what == "libraries":
        check_libraries(builder, arguments.visibility)
    else:
        check_identity(builder, arguments.how)


if __name__ == "__main__":
    main()
