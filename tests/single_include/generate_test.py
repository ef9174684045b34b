#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of single_include/generate.py on small trees of headers, the traps among them."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GENERATOR = Path(__file__).resolve().parent.parent.parent / "single_include/generate.py"

VERSION = "#define PLAIT_VERSION_MAJOR 1\n#define PLAIT_VERSION_MINOR 2\n#define PLAIT_VERSION_PATCH 3\n"


class GeneratorTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.output = self.root / "single_include/plait/plait.hpp"
        self.write("core/version.hpp", VERSION)
        self.write("core/config.hpp", "#include <plait/core/version.hpp>\n#if __cplusplus < 1\n#  error \"old\"\n#endif\n")

    def write(self, header, text):
        path = self.root / "include/plait" / header
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("// SPDX-License-Identifier: MIT\n#pragma once\n\n" + text)

    def run_generator(self, *arguments):
        command = [sys.executable, GENERATOR, "--root", self.root, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def generated(self):
        result = self.run_generator()
        self.assertEqual(result.stderr, "")
        return self.output.read_text()

    def assert_refused(self, words):
        result = self.run_generator()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(words, result.stderr)
        self.assertFalse(self.output.exists())

    def test_each_header_once_and_before_who_includes_it(self):
        self.write("plait.hpp", "#include <plait/core/a.hpp>\n#include <plait/core/b.hpp>\n")
        self.write("core/a.hpp", "#include <plait/core/config.hpp>\n#include <plait/core/b.hpp>\n\nint a();\n")
        self.write("core/b.hpp", "#include <plait/core/config.hpp>\n\n/// Kept.\nint b();\n")
        text = self.generated()
        self.assertEqual(text.count("int b();"), 1)
        self.assertLess(text.index("int b();"), text.index("int a();"))
        self.assertIn("/// Kept.\n", text)
        self.assertEqual(text.count("#pragma once"), 1)
        self.assertEqual(text.count("SPDX-License-Identifier"), 1)
        self.assertNotIn("#include", text)
        self.assertIn("plait 1.2.3", text.splitlines()[1])

    def test_standard_headers_are_gathered_below_the_configuration(self):
        self.write("plait.hpp", "#include <plait/core/a.hpp>\n#include <plait/core/b.hpp>\n")
        self.write("core/a.hpp", "#include <plait/core/config.hpp>\n\n#include <vector>\n#include <array>\n\nint a();\n")
        self.write("core/b.hpp", "#include <vector>\n\n#if __cpp_lib_x\n#  include <span>\n#endif\n\nint b();\n")
        text = self.generated()
        self.assertIn("#include <array>\n#include <vector>\n", text)
        self.assertEqual(text.count("<vector>"), 1)
        self.assertIn("#if __cpp_lib_x\n#  include <span>\n#endif\n", text)
        self.assertLess(text.index('#  error "old"'), text.index("#include <array>"))

    def test_a_platform_header_stays_in_its_branch_with_its_system_headers(self):
        self.write("plait.hpp", "#include <plait/os/x.hpp>\n")
        self.write("os/x.hpp", "#include <plait/core/config.hpp>\n\n#if defined(A)\n#  include <plait/os/posix/x.hpp>\n#endif\n")
        self.write("os/posix/x.hpp", "#include <unistd.h>\n\nint x();\n")
        text = self.generated()
        branch = text[text.index("#if defined(A)"):]
        self.assertLess(branch.index("#include <unistd.h>"), branch.index("int x();"))
        self.assertLess(branch.index("int x();"), branch.index("#endif"))

    def test_a_platform_header_needed_outside_its_first_branch_is_refused(self):
        self.write("plait.hpp", "#include <plait/os/x.hpp>\n")
        self.write("os/x.hpp", "#if defined(A)\n#  include <plait/os/posix/x.hpp>\n#else\n#  include <plait/os/posix/x.hpp>\n#endif\n")
        self.write("os/posix/x.hpp", "int x();\n")
        self.assert_refused("first reached inside `#if defined(A)`")

    def test_else_and_a_negated_if_are_the_same_branch(self):
        self.write("plait.hpp", "#include <plait/os/x.hpp>\n#include <plait/os/y.hpp>\n")
        self.write("os/x.hpp", "#if defined(A)\n#else\n#  include <plait/os/posix/x.hpp>\n#endif\n")
        self.write("os/y.hpp", "#if !defined(A)\n#  include <plait/os/posix/x.hpp>\nint y();\n#endif\n")
        self.write("os/posix/x.hpp", "int x();\n")
        self.assertEqual(self.generated().count("int x();"), 1)

    def test_a_portable_header_first_met_inside_a_condition_is_refused(self):
        self.write("plait.hpp", "#include <plait/os/x.hpp>\n")
        self.write("os/x.hpp", "#if defined(A)\n#  include <plait/os/posix/x.hpp>\n#endif\n")
        self.write("os/posix/x.hpp", "#include <plait/core/a.hpp>\n")
        self.write("core/a.hpp", "int a();\n")
        self.assert_refused("plait/core/a.hpp is first reached inside an #if")

    def test_a_header_that_chooses_a_platform_is_written_outside_of_the_condition_that_reached_it(self):
        self.write("plait.hpp", "#include <plait/os/x.hpp>\n#include <plait/core/config.hpp>\n")
        self.write("os/x.hpp", "#if defined(A)\n#  include <plait/os/posix/x.hpp>\n#endif\n")
        self.write("os/posix/x.hpp", "#include <plait/os/y.hpp>\n\nint x();\n")
        self.write("os/y.hpp", "#if defined(B)\n#  include <plait/os/posix/y.hpp>\n#endif\n")
        self.write("os/posix/y.hpp", "int y();\n")
        text = self.generated()
        self.assertLess(text.index("#if defined(B)"), text.index("int y();"))
        self.assertLess(text.index("int y();"), text.index("#if defined(A)"))

    def test_an_unreachable_header_is_refused(self):
        self.write("plait.hpp", "#include <plait/core/config.hpp>\n")
        self.write("core/a.hpp", "int a();\n")
        self.assert_refused("plait/core/a.hpp is not reached")

    def test_a_conditional_standard_header_that_would_be_gathered_is_refused(self):
        self.write("plait.hpp", "#if __cpp_lib_x\n#include <span>\n#endif\nint a();\n")
        self.assert_refused("#  include")

    def test_check_tells_a_stale_file_and_changes_nothing(self):
        self.write("plait.hpp", "#include <plait/core/config.hpp>\nint a();\n")
        text = self.generated()
        self.assertEqual(self.run_generator("--check").returncode, 0)
        self.output.write_text(text + "int edited();\n")
        self.assertEqual(self.run_generator("--check").returncode, 1)
        self.assertIn("edited", self.output.read_text())


if __name__ == "__main__":
    unittest.main()
