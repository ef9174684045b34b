#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that each C++ snippet of the README stands, line for line, in a program under examples/, which the tests compile
and run; and that each file that the README links to is there."""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
text = (root / "README.md").read_text(encoding="utf-8")
programs = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "examples").glob("*.cpp"))}
wrong = []

for snippet in re.findall(r"^```cpp\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
    if not any(snippet in program for program in programs.values()):
        wrong.append("a snippet of the README is in no example:\n" + snippet)

prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
for target in re.findall(r"\]\(([^)#]+)\)", prose):
    if "://" not in target and not (root / target).exists():
        wrong.append(f"the README links to {target}, which is not there")

print("\n".join(wrong) or "the README's snippets and links hold")
sys.exit(1 if wrong else 0)
