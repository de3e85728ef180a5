"""Checks the rules of the house that no compiler checks: python3 tests/hygiene/check.py [--root TREE] [RULE ...]

SPDX-License-Identifier: MIT

Prints one sentence per violation and exits with 1 when there is one. --list names the rules, --write-umbrella writes
include/mta/mta.hpp. What each rule fires on is tested by self_test.py.
"""

import argparse
import sys
from pathlib import Path

import rooms
import texts
from tree import Tree

RULES = {
    rule.__name__: rule
    for rule in (
        rooms.include_order, rooms.light_includes, rooms.mirror, rooms.orphans, rooms.enough_mutations,
        rooms.umbrella, rooms.own_namespace, texts.file_length, texts.function_length, texts.licence_line,
        texts.plain_ascii, texts.finished, texts.one_version, texts.links, texts.readable_json, texts.formatted,
    )
}


def violations(tree, names):
    """Every sentence of the named rules, as "[rule] sentence"."""
    return [f"[{name}] {sentence}" for name in names for sentence in RULES[name](tree)]


def main():
    parser = argparse.ArgumentParser(description="Checks the house rules of the source tree.")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="only these rules (default: all)")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--list", action="store_true", help="name the rules and stop")
    parser.add_argument("--write-umbrella", action="store_true", help=f"write {rooms.UMBRELLA} and stop")
    options = parser.parse_args()
    unknown = [name for name in options.rules if name not in RULES]
    if unknown:
        parser.error(f"got rule {unknown[0]}, expected one of {', '.join(RULES)}")
    if options.list:
        for name, rule in RULES.items():
            print(f"{name:16} {rule.__doc__.splitlines()[0]}")
        return 0
    tree = Tree(options.root)
    if options.write_umbrella:
        Path(tree.root, rooms.UMBRELLA).write_text(rooms.umbrella_text(tree), encoding="ascii")
        return 0
    names = options.rules or list(RULES)
    found = violations(tree, names)
    for sentence in found:
        print(sentence)
    print(f"hygiene: {len(names)} rules, {len(tree.files)} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
