#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes files that include the files of a test program, some in each: what those include and instantiate is compiled
once for all of them.

    batches.py OUTPUT... -- SOURCE...

Each source is in a namespace of its own, so that two may use one name; what they include comes before, outside of it.
A source that specialises a template of the library, which no other namespace may, is outside too, at the batch's end:
the names of such sources have to differ. An output that would not change is not written.
"""

import re
import sys
from pathlib import Path

DIRECTIVE = re.compile(r"^#\s*(?:include|if|ifdef|ifndef|elif|else|endif)\b.*", re.MULTILINE)
SPECIALISATION = re.compile(r"^(struct|class) (plait|Catch|std)::|^namespace (plait|Catch|std)\b", re.MULTILINE)


def parted(sources, count):
    """The sources, in `count` parts of about the same length. Neighbours, which often instantiate the same, stay so."""
    lengths = [len(source.read_text()) for source in sources]
    parts, before = [[] for _ in range(count)], 0
    for source, length in zip(sources, lengths):
        parts[int((before + length / 2) * count / sum(lengths))].append(source)
        before += length
    return parts


def batch(sources):
    includes, inside, outside = [], [], []
    for source in sources:
        text = source.read_text()
        includes += DIRECTIVE.findall(text)
        if SPECIALISATION.search(text):
            outside.append(f'#include "{source}"')
        else:
            name = re.sub(r"\W", "_", f"{source.parent.name}_{source.stem}")
            inside.append(f'namespace file_{name} {{\n#include "{source}"\n}}')
    return "\n".join([*includes, *inside, *outside, ""])


def main():
    end = sys.argv.index("--")
    outputs = [Path(name) for name in sys.argv[1:end]]
    sources = [Path(name) for name in sys.argv[end + 1 :]]
    for output, part in zip(outputs, parted(sources, len(outputs))):
        text = batch(part)
        output.parent.mkdir(parents=True, exist_ok=True)
        if not output.exists() or output.read_text() != text:
            output.write_text(text)


if __name__ == "__main__":
    main()
