"""The lists of mutations: reading them, choosing from them, applying one.

SPDX-License-Identifier: MIT
"""

import json
import random
import re
from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """One named bug: in `file`, relative to the source tree, the text `find` becomes `replace`."""

    room: str
    stem: str
    name: str
    why: str
    find: str
    replace: str
    file: str

    @property
    def label(self):
        return f"{self.room}/{self.stem}/{self.name}"


def load_lists(root):
    """Every mutation of tests/mutations/<room>/<stem>.json, in the order of the files."""
    folder = Path(root, "tests/mutations")
    return [mutation for path in sorted(folder.glob("*/*.json")) for mutation in load_list(path)]


def load_list(path):
    """The mutations of one file. Raises ValueError, one sentence, when it is not such a list."""
    where = f"tests/mutations/{path.parent.name}/{path.name}"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: got {error}, expected JSON") from error
    header = f"include/mta/{path.parent.name}/{path.stem}.hpp"
    keys = {"name", "why", "find", "replace"}
    mutations = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not keys <= entry.keys() <= keys | {"file"}:
            raise ValueError(f"{where}: entry {number}: expected name, why, find, replace and perhaps file")
        mutations.append(Mutation(path.parent.name, path.stem, *(entry[key] for key in ("name", "why", "find", "replace")),
                                  file=entry.get("file", header)))
    return mutations


def choose(mutations, pattern, size, seed):
    """Those whose label matches, at most `size`: one of each header first, the choice depending on the seed alone."""
    chosen = [m for m in mutations if re.search(pattern, m.label)]
    if size is None or size >= len(chosen):
        return chosen
    shuffled = list(chosen)
    random.Random(seed).shuffle(shuffled)
    rounds = {}
    turn = {}
    for mutation in shuffled:
        header = (mutation.room, mutation.stem)
        turn[mutation] = rounds[header] = rounds.get(header, -1) + 1
    taken = set(sorted(shuffled, key=turn.get)[:size])
    return [m for m in chosen if m in taken]


def mutated_text(root, mutation):
    """The file's text with the bug in it. Raises ValueError unless `find` occurs exactly once."""
    path = Path(root, mutation.file)
    if not path.is_file():
        raise ValueError(f"got no file {mutation.file}, expected the one to change")
    text = path.read_text(encoding="utf-8")
    count = text.count(mutation.find)
    if count != 1:
        raise ValueError(f"got {count} places that match 'find' in {mutation.file}, expected exactly 1")
    return text.replace(mutation.find, mutation.replace)
