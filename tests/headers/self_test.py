"""Tests of check.py: python3 tests/headers/self_test.py

SPDX-License-Identifier: MIT
"""

import shlex
import os
import tempfile
import unittest
from pathlib import Path

from check import chains, check, reachable

CXX = shlex.split(os.environ.get("CXX", "c++"))
SOUND = {
    "a.hpp": "using A = int;\n",
    "b.hpp": "#include <a.hpp>\nusing B = A;\n",
    "deep/c.hpp": "#include <b.hpp>\nusing C = B;\n",
    "d.hpp": "#include <a.hpp>\nusing D = A;\n",
}


class Headers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.include = Path(folder.name)

    def write(self, files):
        for name, text in files.items():
            path = self.include / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("#pragma once\n" + text)

    def problems(self, files):
        self.write(SOUND | files)
        return check(self.include, CXX, 2)[2]

    def test_sound_headers_pass(self):
        self.assertEqual(self.problems({}), [])

    def test_a_missing_include_is_found_wherever_the_header_stands(self):
        self.assertIn("d.hpp", "".join(self.problems({"d.hpp": "using D = A;\n"})))
        self.assertIn("c.hpp", "".join(self.problems({"deep/c.hpp": "#include <a.hpp>\nusing C = B;\n"})))
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": "#include <deep/c.hpp>\nusing E = D;\n"})))

    def test_an_include_that_comes_late_or_perhaps_does_not_count(self):
        late = "using E = C;\n#include <deep/c.hpp>\n"
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": late})))
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": "#if 1\nusing E = C;\n#endif\n#include <deep/c.hpp>\n"})))
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": "#if 0\n#include <deep/c.hpp>\n#endif\nusing E = C;\n"})))
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": "/*\n#include <deep/c.hpp>\n*/\nusing E = C;\n"})))

    def test_a_warning_is_found(self):
        self.assertIn("e.hpp", "".join(self.problems({"e.hpp": "inline int f(double x) { return x; }\n"})))

    def test_chains_hold_every_header_once_and_hide_nothing(self):
        for include in (self.include, Path(__file__).resolve().parents[2] / "include"):
            self.write(SOUND)
            closures = reachable(include)
            lists = chains(closures)
            self.assertEqual(sorted(sum(lists, [])), sorted(closures))
            for chain in lists:
                for place, header in enumerate(chain):
                    self.assertLessEqual(set(chain[:place]), closures[header])

    def test_headers_that_include_each_other_are_in_chains_too(self):
        self.write({"x.hpp": "#include <y.hpp>\n", "y.hpp": "#include <x.hpp>\n"})
        self.assertEqual(sorted(sum(chains(reachable(self.include)), [])), ["x.hpp", "y.hpp"])

    def test_chains_are_few(self):
        self.write(SOUND)
        self.assertEqual(len(chains(reachable(self.include))), 2)


if __name__ == "__main__":
    unittest.main()
