#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rules of the house, each a test: check.py RULE [--work FOLDER] [--include FOLDER] [-- COMPILER [FLAGS...]]

`check.py --list` names the rules. Their exceptions stand at the top of this file, each with its reason.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
INCLUDE = ROOT / "include"
TESTS = ROOT / "tests"

WINGS = ("threading", "multiprocessing", "asyncio", "subprocess")
PLATFORM_FOLDERS = ("linux", "posix", "windows")

# A wing's header that may include a header of another wing, and why.
MEETINGS_OF_WINGS = {}

# Headers without a test file of their own name, and where they are tested.
TESTED_ELSEWHERE = {
    "asyncio/input_output.hpp": "an umbrella within the wing: the tests of what it includes",
    "core/version.hpp": "tests/house",
    "multiprocessing/codec/explain.hpp": "tests/compile_errors",
}

# Tests that may sleep, and why.
MAY_SLEEP = {
    "tests/support/sync_point.cpp": "delays threads at random to disturb them: nothing waits for the sleep to be long enough",
}

# What an #if may ask outside core/config.hpp and the dispatch headers: the language, not the platform.
HARMLESS_CONDITION = re.compile(r"__cpp_\w+|__has_include\s*\(.*?\)|__has_cpp_attribute\s*\(.*?\)|PLAIT_VERSION\w*|defined|\d+[lL]?")

STANDARD_HEADERS = set("""
    algorithm array atomic bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits clocale cmath
    compare complex concepts condition_variable coroutine csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime
    cwchar cwctype deque exception filesystem forward_list initializer_list iterator limits list map memory
    memory_resource mutex new numbers numeric optional queue random ranges ratio set shared_mutex source_location span
    stack stdexcept stop_token string string_view system_error thread tuple type_traits typeindex typeinfo unordered_map
    unordered_set utility variant vector version
""".split())

# Nowhere, for what they cost the compiler or for what they lose.
FORBIDDEN_HEADERS = set("any barrier format functional future iostream latch regex semaphore".split())

FORBIDDEN_WORDS = {
    r"\btypeid\b|\bdynamic_cast\b|\bstd::any\b": "needs RTTI",
    r"\bstd::(function|move_only_function|packaged_task|promise|async)\b": "use core/function.hpp and core/future.hpp",
    r"\bstd::(barrier|latch|counting_semaphore|binary_semaphore)\b": "loses wake-ups with mingw; use core/parking.hpp",
    r"\bstd::format\b": "g++ 12 has none",
    r"\batomic_thread_fence\b": "ThreadSanitizer does not understand it",
    r"\b(min|max)\s*\(": "is a macro in windows.h: write (std::min)(a, b)",
    r"\b(linux|unix|major|minor|near|far|small|interface|ERROR|IN|OUT)\b": "is a macro somewhere",
    r"(?:\.|->|::|\w[&*]?\s|[&*])(stdin|stdout|stderr)\b(?!\s*[,)])": "is a macro: not a name of ours",
    r"\b__[a-z]\w*(?=\s*[=;{])|\b_(?!IO|SC_)[A-Z]\w*": "is reserved",  # _IOWR and _SC_OPEN_MAX are the system's
    r"^\s*using namespace\b(?! plait::detail;)": "opens a namespace for every user",
}

RULES = {}


def rule(function):
    RULES[function.__name__] = function
    return function


class Skip(Exception):
    pass


# --- Reading the source ---


def headers():
    return sorted(INCLUDE.rglob("*.hpp"))


def name_of(path):
    """`threading/lock.hpp` for include/plait/threading/lock.hpp."""
    return path.relative_to(INCLUDE / "plait").as_posix()


def is_dispatch(name):
    """Whether the header `name` is one of those that choose a platform: the files directly in os/."""
    return re.fullmatch(r"os/[^/]+", name) is not None


def without_comments(text):
    """The text with comments and the insides of strings blanked, its lines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)

    def blank(match):
        found = match.group(0)
        return '""' + "\n" * found.count("\n") if found[0] in "\"R'" else "\n" * found.count("\n")

    return pattern.sub(blank, text)


def directives(path):
    """(line number, name, rest) of each preprocessor directive."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r"\s*#\s*(\w+)\s*(.*?)\s*(//.*)?$", line)
        if match:
            yield number, match.group(1), match.group(2)


def includes(path):
    """(line number, header) of each #include."""
    for number, name, rest in directives(path):
        match = re.match(r'[<"]([^>"]+)[>"]', rest)
        if name == "include" and match:
            yield number, match.group(1)


def own_includes(path):
    for number, header in includes(path):
        if header.startswith("plait/"):
            yield number, header.removeprefix("plait/")


def floor_of(name):
    folder = name.split("/")[0]
    if name in ("plait.hpp", *(f"{wing}.hpp" for wing in WINGS)):
        return "umbrella"
    return folder


def lines_matching(paths, pattern):
    expression = re.compile(pattern)
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if expression.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


# --- The rules about text; each yields what breaks it ---


@rule
def includes_run_downward():
    for path in headers():
        name = name_of(path)
        floor = floor_of(name)
        for number, target in own_includes(path):
            below = floor_of(target)
            if floor == "umbrella":
                allowed = name == "plait.hpp" or below in (name.removesuffix(".hpp"), "core", "os")
            elif floor in WINGS:
                allowed = below in (floor, "os", "core") or (name, target) in MEETINGS_OF_WINGS
            elif floor == "os":
                allowed = below in ("os", "core")
            else:
                allowed = floor == below == "core"
            if not allowed:
                yield f"include/plait/{name}:{number} includes {target}"
            if not (INCLUDE / "plait" / target).is_file():
                yield f"include/plait/{name}:{number} includes {target}, which does not exist"


@rule
def a_platform_header_is_included_by_its_dispatch_header():
    """os/x.hpp chooses os/linux/x.hpp; nobody else reaches past it, but a platform's headers each other."""
    for path in headers():
        name = name_of(path)
        for number, target in own_includes(path):
            parts = target.split("/")
            if len(parts) == 3 and parts[0] == "os" and parts[1] in PLATFORM_FOLDERS and not name.startswith("os/"):
                yield f"include/plait/{name}:{number} includes {target}"


@rule
def platform_tests_stand_in_os():
    for path in headers():
        name = name_of(path)
        if name == "core/config.hpp" or is_dispatch(name):
            continue
        for number, directive, condition in directives(path):
            if directive in ("if", "ifdef", "ifndef", "elif") and re.search(r"\w", HARMLESS_CONDITION.sub("", condition)):
                yield f"include/plait/{name}:{number}: #{directive} {condition}"


@rule
def system_headers_stand_in_os():
    for path in headers():
        name = name_of(path)
        for number, header in includes(path):
            system = not header.startswith("plait/") and header not in STANDARD_HEADERS
            if header in FORBIDDEN_HEADERS or (system and not name.startswith("os/")):
                yield f"include/plait/{name}:{number} includes <{header}>"


@rule
def forbidden_words():
    for path in headers():
        for number, line in enumerate(without_comments(path.read_text()).splitlines(), 1):
            if line.lstrip().startswith("#"):
                continue
            for pattern, reason in FORBIDDEN_WORDS.items():
                match = re.search(pattern, line)
                if match:
                    yield f"include/plait/{name_of(path)}:{number}: `{match.group(0).strip()}` {reason}"


@rule
def headers_have_their_form():
    for path in headers():
        text = path.read_text()
        name = f"include/plait/{name_of(path)}"
        lines = text.splitlines()
        if lines[:2] != ["// SPDX-License-Identifier: MIT", "#pragma once"]:
            yield f"{name} does not begin with the licence and `#pragma once`"
        for match in re.finditer(r"^namespace plait\b(?!::inline PLAIT_ABI)[^=\n]*\{", text, re.MULTILINE):
            yield f"{name}: `{match.group(0)}` leaves out PLAIT_ABI"
        if not text.endswith("\n") or "\t" in text or re.search(r"[ ]$", text, re.MULTILINE):
            yield f"{name} has a tab, a blank at a line's end, or no end of line at its end"


@rule
def source_files_name_their_licence():
    for folder in ("tests", "examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.[ch]pp")):
            if "// SPDX-License-Identifier: MIT" not in path.read_text().splitlines()[:4]:
                yield f"{path.relative_to(ROOT)}"


@rule
def wings_include_their_folder():
    """Each header of a wing is reached from the wing's own umbrella, and a wing's umbrella from plait.hpp."""
    for wing in WINGS:
        if not any((INCLUDE / "plait" / wing).glob("*.hpp")):
            continue
        reached, pending = set(), [f"{wing}.hpp"]
        while pending:
            name = pending.pop()
            path = INCLUDE / "plait" / name
            if name in reached or not path.is_file():
                continue
            reached.add(name)
            pending += [target for _, target in own_includes(path)]
        for path in sorted((INCLUDE / "plait" / wing).rglob("*.hpp")):
            if name_of(path) not in reached:
                yield f"{wing}.hpp does not reach {name_of(path)}"
    umbrella = INCLUDE / "plait/plait.hpp"
    targets = [target for _, target in own_includes(umbrella)] if umbrella.is_file() else []
    yield from (f"plait.hpp does not include {wing}.hpp" for wing in WINGS if f"{wing}.hpp" not in targets)


@rule
def headers_have_tests():
    """x.hpp has x_test.cpp; the parts of x.hpp in a folder x/ may share it, and what is in detail/ has none of its own."""
    for path in headers():
        name = name_of(path)
        parts = name.removesuffix(".hpp").split("/")
        platform = parts[0] == "os" and parts[1] in PLATFORM_FOLDERS  # tested through the header that chooses it
        if floor_of(name) == "umbrella" or platform or "detail" in parts or name in TESTED_ELSEWHERE:
            continue
        names = [parts, parts[:-1]] if len(parts) > 2 else [parts]
        tests = [TESTS / ("/".join(each) + "_test.cpp") for each in names]
        if not any(test.is_file() for test in tests):
            yield f"include/plait/{name} has no {' or '.join(str(test.relative_to(ROOT)) for test in tests)}"
    for name in TESTED_ELSEWHERE:
        if not (INCLUDE / "plait" / name).is_file():
            yield f"the list of exceptions names {name}, which does not exist"


@rule
def tests_do_not_sleep():
    files = sorted(path for path in TESTS.rglob("*.[ch]pp") if path.relative_to(ROOT).as_posix() not in MAY_SLEEP)
    yield from lines_matching(files, r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|(^|[^\w>])::sleep\(|\bpoll\(nullptr, 0,")


@rule
def nothing_is_left_for_later():
    folders = ("include", "tests", "examples", "benchmarks", "single_include")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".hpp", ".cpp")]
    yield from lines_matching(files, r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|not implemented")


# --- The rules that need a compiler ---


class Compiler:
    def __init__(self, command, include, work):
        self.command = command
        self.include = include
        self.work = work
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments, include=None):
        command = [*self.command, "-std=c++20", "-I", str(include or self.include), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.work)
        if result.returncode != 0:
            raise AssertionError(f"{' '.join(command)}\n{result.stderr}")
        return result.stdout

    def source(self, name, text):
        path = self.work / name
        path.write_text(text)
        return path


WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Wold-style-cast", "-Werror")


@rule
def macros_left_behind(compiler):
    """What one include leaves behind is PLAIT_VERSION* and ten macros at most, all PLAIT_."""
    system = sorted({header for path in headers() for _, header in includes(path) if not header.startswith("plait/")})
    text = "".join(f"#if __has_include(<{header}>)\n#include <{header}>\n#endif\n" for header in system)

    def macros(source):
        return set(re.findall(r"^#define (\w+)", compiler.run("-dM", "-E", source), re.MULTILINE))

    before = macros(compiler.source("macros_before.cpp", text))
    after = macros(compiler.source("macros_after.cpp", text + "#include <plait/plait.hpp>\n"))
    left = sorted(name for name in after - before if not name.startswith("PLAIT_VERSION"))
    yield from (f"{name} is no PLAIT_ macro" for name in left if not name.startswith("PLAIT_"))
    if len(left) > 10:
        yield f"{len(left)} macros: {' '.join(left)}"


@rule
def compiles_without_rtti(compiler):
    source = compiler.source("no_rtti.cpp", "#include <plait/plait.hpp>\nint main() {}\n")
    compiler.run("-fno-rtti", "-fsyntax-only", *WARNINGS, source)
    yield from ()


@rule
def compiles_with_assertions_and_gnu_extensions(compiler):
    source = compiler.source("gnu.cpp", "#include <plait/plait.hpp>\nint main() {}\n")
    compiler.run("-std=gnu++20", "-D_GLIBCXX_ASSERTIONS", "-fsyntax-only", *WARNINGS, source)
    yield from ()


def build_and_run_two_files(compiler, include, name, *flags):
    program = compiler.work / name
    sources = [TESTS / "house/two_files/main.cpp", TESTS / "house/two_files/other.cpp"]
    compiler.run(*flags, *WARNINGS, *sources, "-pthread", "-o", program, include=include)
    subprocess.run([program], check=True, timeout=120)


@rule
def two_files_link(compiler):
    build_and_run_two_files(compiler, INCLUDE, "two_files")
    yield from ()


@rule
def two_files_link_without_rtti(compiler):
    build_and_run_two_files(compiler, INCLUDE, "two_files_no_rtti", "-fno-rtti")
    yield from ()


@rule
def single_header_in_two_files(compiler):
    build_and_run_two_files(compiler, ROOT / "single_include", "two_files_single")
    yield from ()


@rule
def nothing_runs_before_main(compiler):
    """A file that only includes plait has no initialiser of its own."""
    for name, text in (("empty", "int f() { return 0; }\n"), ("included", "#include <plait/plait.hpp>\nint f() { return 0; }\n")):
        compiler.run("-S", compiler.source(f"{name}.cpp", text), "-o", compiler.work / f"{name}.s")
    assembly = (compiler.work / "included.s").read_text()
    if ".init_array" in assembly or "_GLOBAL__sub_I" in assembly:
        yield "a static object is initialised before main"


@rule
def an_include_does_nothing(compiler):
    """A program that only includes plait makes the system calls of an empty one."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    calls = {}
    for name, text in (("empty", ""), ("included", "#include <plait/plait.hpp>\n")):
        source = compiler.source(f"calls_{name}.cpp", text + "int main() {}\n")
        program = compiler.work / f"calls_{name}"
        # The libraries are the same for both, whether something of them is used or not.
        compiler.run(source, "-pthread", "-Wl,--no-as-needed", "-o", program)
        trace = compiler.work / f"calls_{name}.txt"
        result = subprocess.run(["strace", "-f", "-o", trace, program], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Skip("strace does not work here")
        # The loader maps and protects memory by the size of what it loads.
        made = re.findall(r"^\d+\s+(\w+)\(", trace.read_text(), re.MULTILINE)
        calls[name] = [call for call in made if call not in ("mmap", "munmap", "mprotect")]
    if calls["empty"] != calls["included"]:
        yield f"an empty program calls {' '.join(calls['empty'])}"
        yield f"one that includes plait  {' '.join(calls['included'])}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rule", nargs="?", choices=RULES)
    parser.add_argument("--list", action="store_true", help="print the names of the rules")
    parser.add_argument("--work", type=Path, help="a folder for what is compiled")
    parser.add_argument("--include", type=Path, default=INCLUDE, help="the folder of plait's headers")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, command = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    if arguments.list or not arguments.rule:
        print("\n".join(RULES))
        return

    check = RULES[arguments.rule]
    try:
        if "compiler" in check.__code__.co_varnames[: check.__code__.co_argcount]:
            # A folder for each rule: they run side by side.
            work = (arguments.work or ROOT / "build/house") / arguments.rule
            found = list(check(Compiler(command or ["c++"], arguments.include, work)))
        else:
            found = list(check())
    except Skip as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    except (AssertionError, subprocess.SubprocessError) as error:
        found = [str(error)]
    if found:
        sys.exit("\n".join([f"{arguments.rule.replace('_', ' ')}: broken", *found]))


if __name__ == "__main__":
    main()
