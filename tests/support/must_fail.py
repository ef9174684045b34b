#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program that has to fail, and compares what it says: must_fail.py --expect REGEX -- COMMAND..."""

import argparse
import re
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expect", required=True, help="a regular expression that the output has to match somewhere")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    # Into a file and not a pipe: a child that the program leaves behind would hold a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        status = subprocess.run(arguments.command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        output.seek(0)
        text = output.read()
    if status == 0:
        sys.exit(f"the program succeeded:\n{text}")
    if not re.search(arguments.expect, text, re.DOTALL):
        sys.exit(f"nothing in the output matches {arguments.expect!r}:\n{text}")
    print(text)


if __name__ == "__main__":
    main()
