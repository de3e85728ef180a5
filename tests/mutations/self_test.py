"""Tests the mutation runner on a small tree with known bugs: python3 tests/mutations/self_test.py

SPDX-License-Identifier: MIT
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

import run
from compiler import Compiler
from lists import Mutation, choose, load_lists

HEADER = """#pragma once
inline int clamp(int x, int low, int high) {
    if (x < low) return low;
    return x > high ? high : x;
}
"""
TEST = """#include <mta/ops/clamp.hpp>
TEST_CASE("clamp: values") {
    CHECK(clamp(-5, 0, 9) == 0);
    CHECK(clamp(5, 0, 9) == 5);
}
"""
MORE = """#include <mta/ops/clamp.hpp>
TEST_CASE("clamp: above") { CHECK(clamp(12, 0, 9) == 9); }
"""
MAIN = """#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
"""


def bug(name, find, replace, **more):
    return {"name": name, "why": f"because of {name}", "find": find, "replace": replace, **more}


BUGS = [
    (bug("wrong side", "x < low", "x > low"), "killed"),
    (bug("only the second file sees it", "x > high ? high : x", "x"), "killed"),
    (bug("endless", "if (x < low)", "while (x < low)\\n    for (volatile int n = 0; n < 9; n = 0) {}\\n    if (x < low)"
         .replace("\\n", "\n")), "killed by timeout"),
    (bug("crash", "return low;", "return *static_cast<volatile int*>(nullptr);"), "killed"),
    (bug("nothing at all", "x < low", "low > x"), "SURVIVED"),
    (bug("syntax error", "return low;", "return low"), "does-not-compile"),
    (bug("stale", "x <= low", "x < low"), "stale"),
    (bug("twice", "low", "high"), "stale"),
    (bug("in another file", "10", "11", file="include/mta/core/ten.hpp"), "SURVIVED"),
    (bug("in no file", "10", "11", file="include/mta/core/gone.hpp"), "stale"),
]


class RunnerJudges(unittest.TestCase):
    """Every verdict is reached by the mutation that deserves it, and the exit status says so."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mta runner ")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name, "tree")
        for path, text in {"include/mta/ops/clamp.hpp": HEADER, "include/mta/core/ten.hpp": "// 10\n",
                           "tests/ops/clamp.cpp": TEST, "tests/ops/clamp_above.cpp": MORE, "tests/main.cpp": MAIN,
                           "tests/support/precompiled.hpp": "#include <doctest/doctest.h>\n",
                           "tests/mutations/ops/clamp.json": json.dumps([entry for entry, _ in BUGS])}.items():
            Path(self.root, path).parent.mkdir(parents=True, exist_ok=True)
            Path(self.root, path).write_text(text)

    def run_all(self, pattern=""):
        with tempfile.TemporaryDirectory() as scratch:
            compiler = Compiler(self.root, Path(scratch), "c++", timeout=5)
            mutations = choose(load_lists(self.root), pattern, None, 0)
            return {m.name: verdict for m, verdict, _ in run.run(compiler, mutations, 2, say=lambda line: None)}

    def test_verdicts(self):
        self.assertEqual(self.run_all(), {entry["name"]: verdict for entry, verdict in BUGS})

    def test_exit_status_needs_every_mutation_killed(self):
        for verdict, status in (("killed", 0), ("killed by timeout", 0), ("SURVIVED", 1), ("does-not-compile", 1),
                                ("stale", 1), ("not-judged", 1)):
            self.assertEqual(run.exit_status([(None, "killed", ""), (None, verdict, "")]), status)
        self.assertEqual(run.exit_status([]), 1)
        self.assertEqual(run.main(["--root", str(self.root), "--only", "wrong side|nothing at all", "-j2"]), 1)

    def test_failing_or_broken_tests_judge_nothing(self):
        for text in (TEST.replace("== 5", "== 6"), TEST.replace("CHECK", "CHECK(")):
            Path(self.root, "tests/ops/clamp.cpp").write_text(text)
            self.assertEqual(self.run_all("wrong side"), {"wrong side": "not-judged"})

    def test_nothing_chosen_or_a_broken_list_is_a_usage_error(self):
        self.assertEqual(run.main(["--root", str(self.root), "--only", "no such name"]), 2)
        Path(self.root, "tests/mutations/ops/clamp.json").write_text('[{"name": "x"}]')
        self.assertEqual(run.main(["--root", str(self.root)]), 2)


class SamplesAreFair(unittest.TestCase):
    """A sample is reproducible and visits every header before it visits one twice."""

    def test_sample(self):
        everything = [Mutation("ops", stem, f"bug {n}", "", "", "", "") for stem in "abcde" for n in range(6)]
        for size in (1, 5, 7, 30, 99):
            chosen = choose(everything, "", size, 3)
            self.assertEqual(chosen, choose(everything, "", size, 3))
            self.assertEqual(len(chosen), min(size, 30))
            counts = [sum(m.stem == stem for m in chosen) for stem in "abcde"]
            self.assertLessEqual(max(counts) - min(counts), 1)
        self.assertNotEqual(choose(everything, "", 5, 0), choose(everything, "", 5, 1))


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False).result.wasSuccessful() else 1)
