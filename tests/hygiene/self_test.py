"""Feeds the hygiene rules small trees that break them and expects every rule to fire: python3 tests/hygiene/self_test.py

SPDX-License-Identifier: MIT

A sound tree must pass every rule; each case changes one file of it and names the rule that must fire, and where.
"""

import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import check
import rooms
import texts
from cpp_functions import functions
from tree import Tree

CARD = "// A sound file.\n// SPDX-License-Identifier: MIT\n#pragma once\n"
FIVE = json.dumps([{"name": f"bug {n}", "why": "it is wrong", "find": "a", "replace": "b"} for n in range(5)])
TEST = ("// A test.\n// SPDX-License-Identifier: MIT\n#include <mta/mta.hpp>\n\n"
        "namespace mta_test_{0} {{\nint f();\nint g();\n}}  // namespace mta_test_{0}\n")
FUNCTION = "inline int f(int x) {\n" + "    x += 1;\n" * 37 + "    return x;\n}\n"
SOUND = {
    "include/mta/version.hpp": CARD + '\n#define MTA_VERSION_MAJOR 1\n#define MTA_VERSION_MINOR 2\n'
                                      '#define MTA_VERSION_PATCH 3\n#define MTA_VERSION_STRING "1.2.3"\n',
    "include/mta/core/tensor.hpp": CARD + "\n#include <vector>\n",
    "include/mta/ops/softmax.hpp": CARD + "\n#include <mta/core/tensor.hpp>\n",
    "include/mta/ops/gelu.hpp": CARD + "\n#include <mta/core/tensor.hpp>\n",
    "include/mta/layers/attention.hpp": CARD + "\n#include <mta/ops/softmax.hpp>\n",
    "include/mta/check/compare.hpp": CARD + "\n#include <mta/core/tensor.hpp>\n",
    "include/mta/io/npy.hpp": CARD + "\n#include <mta/core/tensor.hpp>\n#include <nlohmann/json.hpp>\n",
    "include/mta/oracle/config.hpp": CARD + "\n#include <mta/io/npy.hpp>\n",
    **{f"tests/{twin}.cpp": TEST.format(Path(twin).name) for twin in ("core/tensor", "ops/softmax", "ops/gelu", "layers/attention",
                                              "check/compare", "io/npy", "oracle/config")},
    **{f"docs/{twin}.md": "# A page\n\n## Its Traps\n" for twin in ("ops/softmax", "ops/gelu", "layers/attention")},
    **{f"tests/golden/ops/{op}.py": '"""Values.\n\nSPDX-License-Identifier: MIT\n"""\n' for op in ("softmax", "gelu")},
    **{f"tests/golden/ops/{op}.safetensors": "" for op in ("softmax", "gelu")},
    **{f"tests/mutations/ops/{op}.json": FIVE for op in ("softmax", "gelu")},
    "CHANGELOG.md": "# Changes\n\n## [1.2.3] - 2026-01-01\n",
    "CITATION.cff": "version: 1.2.3\n",
    "README.md": "# mta\n\nSee [softmax](docs/ops/softmax.md#its-traps), [docs](docs) and [above](#mta).\n",
}
# (rule, file, its text in the broken tree or None to delete it, a piece of the sentence)
BROKEN = [
    ("include_order", "include/mta/ops/gelu.hpp", CARD + "#include <mta/ops/softmax.hpp>\n", "only core in room ops"),
    ("include_order", "include/mta/core/tensor.hpp", CARD + "#include <mta/ops/softmax.hpp>\n", "tensor.hpp:4: "),
    ("include_order", "include/mta/check/compare.hpp", CARD + "#include <mta/ops/gelu.hpp>\n", "in room check"),
    ("include_order", "include/mta/layers/attention.hpp", CARD + "#include <mta/check/compare.hpp>\n", "room layers"),
    ("include_order", "include/mta/io/npy.hpp", CARD + "#include <mta/layers/attention.hpp>\n", "in room io"),
    ("include_order", "include/mta/ops/gelu.hpp", CARD + '#include "softmax.hpp"\n', "angle brackets"),
    ("include_order", "include/mta/ops/gelu.hpp", CARD + "#include <mta/mta.hpp>\n", "not the umbrella"),
    ("include_order", "include/mta/attic/old.hpp", CARD, "got room attic"),
    ("light_includes", "include/mta/core/tensor.hpp", CARD + "#include <iostream>\n", "io, oracle and train only"),
    ("light_includes", "include/mta/ops/gelu.hpp", CARD + "#include <nlohmann/json.hpp>\n", "io, oracle and train only"),
    ("light_includes", "include/mta/check/compare.hpp", CARD + "#  include <regex>\n", "io, oracle and train only"),
    ("light_includes", "include/mta/io/npy.hpp", CARD + "#include <format>\n", "g++ 12"),
    ("light_includes", "include/mta/ops/gelu.hpp", CARD + "#include <Eigen/Core>\n", "core/tensor.hpp"),
    ("mirror", "tests/core/tensor.cpp", None, "got no tests/core/tensor.cpp"),
    ("mirror", "tests/ops/gelu.cpp", None, "got no tests/ops/gelu.cpp"),
    ("mirror", "docs/ops/gelu.md", None, "got no docs/ops/gelu.md"),
    ("mirror", "docs/layers/attention.md", None, "got no docs/layers/attention.md"),
    ("mirror", "tests/golden/ops/gelu.py", None, "got no tests/golden/ops/gelu.py"),
    ("mirror", "tests/golden/ops/gelu.safetensors", None, "gelu.safetensors"),
    ("mirror", "tests/mutations/ops/gelu.json", None, "got no tests/mutations/ops/gelu.json"),
    ("mirror", "tests/io/npy.cpp", None, "got no tests/io/npy.cpp"),
    ("mirror", "tests/oracle/config.cpp", None, "got no tests/oracle/config.cpp"),
    ("orphans", "tests/ops/relu.cpp", CARD, "got no include/mta/ops/relu.hpp"),
    ("orphans", "docs/ops/relu.md", "# relu\n", "got no include/mta/ops/relu.hpp"),
    ("orphans", "tests/mutations/io/relu.json", FIVE, "got no include/mta/io/relu.hpp"),
    ("enough_mutations", "tests/mutations/ops/gelu.json", "[1, 2]", "got 2 mutations"),
    ("enough_mutations", "tests/mutations/ops/gelu.json", "{}", "got dict mutations"),
    ("enough_mutations", "tests/mutations/ops/gelu.json", FIVE.replace("why", "because"), "without name"),
    ("enough_mutations", "tests/mutations/ops/gelu.json", FIVE.replace("bug 3", "bug 4"), "name twice"),
    ("own_namespace", "tests/ops/gelu.cpp", TEST.format("softmax"), "gelu.cpp:5: got 'namespace mta_test_softmax {'"),
    ("own_namespace", "tests/ops/gelu.cpp", TEST.format("gelu") + "int h();\n", "gelu.cpp:9: got 'int h();'"),
    ("own_namespace", "tests/io/npy.cpp", "using namespace mta;\n" + TEST.format("npy"), "npy.cpp:1: got 'using"),
    ("own_namespace", "tests/io/npy.cpp", TEST.format("npy").replace("{", "{\n#include <set>"), "in namespace mta_test_npy"),
    ("own_namespace", "bench/ops/gelu.cpp", CARD + "namespace {\n}  // namespace\n", "namespace mta_bench_gelu {"),
    ("umbrella", "include/mta/mta.hpp", CARD, "another list"),
    ("umbrella", "include/mta/ops/relu.hpp", CARD, "another list"),
    ("file_length", "include/mta/ops/gelu.hpp", CARD + "//\n" * 297, "got 300 lines"),
    ("function_length", "include/mta/ops/gelu.hpp", CARD + FUNCTION.replace("return", "x += 2;\n    return"),
     "hpp:4: got 41 lines of code in 'inline int f(int x)'"),
    ("function_length", "tests/golden/ops/gelu.py", "def f(x):\n" + "    x += 1\n" * 39, "got 40 lines of code in f"),
    ("function_length", "tests/ops/gelu.cpp", 'TEST_CASE("gelu") {\n' + "    CHECK(1);\n" * 78 + "}\n", "got 80 lines"),
    ("licence_line", "include/mta/ops/gelu.hpp", "// A file.\n" * 6 + "// SPDX-License-Identifier: MIT\n", "got no 'SPDX"),
    ("licence_line", "tests/golden/ops/gelu.py", "x = 1\n", "got no 'SPDX"),
    ("plain_ascii", "include/mta/ops/gelu.hpp", CARD + "// na\u00efve\n", "hpp:4: got the character U+00EF"),
    ("plain_ascii", "include/mta/ops/gelu.hpp", CARD + "\tint x;\n", "U+0009"),
    ("plain_ascii", "include/mta/ops/gelu.hpp", CARD + "int x; \n", "trailing blanks"),
    ("finished", "include/mta/ops/gelu.hpp", CARD + "// TO" + "DO later\n", "hpp:4: got TO" + "DO"),
    ("finished", "README.md", "See /ho" + "me/somebody/notes.\n", "no path of one machine"),
    ("one_version", "CHANGELOG.md", "## [1.2.4]\n\n## [1.2.3]\n", "CHANGELOG.md: got version 1.2.4"),
    ("one_version", "CITATION.cff", "title: mta\n", "got version nothing"),
    ("one_version", "include/mta/version.hpp", SOUND["include/mta/version.hpp"].replace('"1.2.3"', '"1.2.0"'), "STRING"),
    ("links", "README.md", "[gone](docs/ops/relu.md)\n", "README.md:1: got a link to docs/ops/relu.md"),
    ("links", "README.md", "[out](../../secret)\n", "a file of this tree"),
    ("links", "docs/ops/gelu.md", "[gone](softmax.md#no-such-heading)\n", "a heading of docs/ops/softmax.md"),
    ("readable_json", "tests/mutations/ops/gelu.json", "[1,", "expected JSON"),
    ("formatted", "include/mta/ops/gelu.hpp", CARD + "int  x ;\n", "other formatting"),
]


def write(root, files):
    """Writes {path: text} below root, and an mta.hpp that matches unless one is given."""
    for path, text in files.items():
        Path(root, path).parent.mkdir(parents=True, exist_ok=True)
        Path(root, path).write_text(text, encoding="utf-8")
    if rooms.UMBRELLA not in files:
        Path(root, rooms.UMBRELLA).write_text(rooms.umbrella_text(Tree(root)), encoding="ascii")


class RulesFire(unittest.TestCase):
    """Every rule passes the sound tree and fires on its broken ones."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.files = SOUND | {".clang-format": Path(__file__).parents[2].joinpath(".clang-format").read_text()}

    def test_sound_tree_passes(self):
        write(self.folder, self.files)
        self.assertEqual(check.violations(Tree(self.folder), check.RULES), [])

    def test_every_rule_has_a_broken_tree(self):
        self.assertEqual({rule for rule, *_ in BROKEN}, set(check.RULES))

    def test_broken_trees_are_found(self):
        for rule, path, text, piece in BROKEN:
            if rule == "formatted" and shutil.which(texts.FORMATTER) is None:
                continue
            with self.subTest(rule=rule, path=path), tempfile.TemporaryDirectory() as folder:
                write(folder, self.files)
                target = Path(folder, path)
                if text is None:
                    target.unlink()
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text, encoding="utf-8")
                found = check.violations(Tree(folder), [rule])
                self.assertTrue(any(piece in sentence for sentence in found), f"expected '{piece}' in {found}")


class FunctionsAreFound(unittest.TestCase):
    """The length heuristic sees functions and nothing else."""

    def heads(self, source):
        return [(found.head, found.lines) for found in functions(source)]

    def test_functions(self):
        for source in ("int f() {\n    return 1;\n}\n", "auto f(int a) -> std::vector<int> {\n    return {a};\n}\n",
                       "template <class T>\nrequires(sizeof(T) > 1) bool f(T x, C c = {}) {\n    return g({x});\n}\n",
                       "C::C(int a) : a_{a}, b_(a) {\n    f();\n}\n", "bool C::operator==(const C& c) const noexcept {\n}\n",
                       'TEST_CASE("a { b") {\n    CHECK(1);\n}\n', "[[nodiscard]] int f() {\n    return 1;\n}\n"):
            with self.subTest(source):
                self.assertEqual([lines for _, lines in self.heads(source)], [source.count("\n")])

    def test_no_functions(self):
        for source in ("struct A {\n    int x = f();\n};\n", "namespace a {\nint x{1};\n}\n", "const int a[] = {1, 2};\n",
                       "const auto f = [](int x) {\n    return x;\n};\n", "enum class E : int {\n    a\n};\n",
                       "// int f() {\n// }\n", 'const char* s = "int f() { }";\n', "#define F(x) {\\\n    x; }\n"):
            with self.subTest(source):
                self.assertEqual(self.heads(source), [])

    def test_comments_and_blank_lines_do_not_count(self):
        self.assertEqual(self.heads("void f() {\n\n    // why\n    /* and\n why */\n    g();\n}\n"), [("void f()", 3)])

    def test_members_and_what_follows_a_function(self):
        source = "struct A {\n    A() : x{1} {}\n    int f() const { return x; }\n    int x;\n};\nint g() { return 1; }\n"
        self.assertEqual(self.heads(source), [("A() : x{1}", 1), ("int f() const", 1), ("int g()", 1)])


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False).result.wasSuccessful() else 1)
