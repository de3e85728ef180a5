"""Rules about the rooms of include/mta: who may include whom, and which files mirror a stem.

SPDX-License-Identifier: MIT

Every rule is a function of a Tree that yields sentences "file:line: got ..., expected ...".
"""

import json
import re
from pathlib import Path

# A room includes itself and the rooms named here; ops never include a sibling op.
MAY_INCLUDE = {
    "core": {"core"},
    "ops": {"core"},
    "layers": {"layers", "ops", "core"},
    "fast": {"fast", "layers", "ops", "core"},
    "check": {"check", "core"},
    "io": {"io", "core"},
    "oracle": {"oracle", "check", "fast", "layers", "io", "ops", "core"},
    "optim": {"optim", "core"},
    "models": {"models", "layers", "ops", "core"},
    "tasks": {"tasks", "core"},
    "train": {"train", "models", "optim", "tasks", "layers", "io", "ops", "core"},
}
HAND_WRITTEN_JSON = {"io", "oracle", "train"}
# Slow to compile, or missing from the compilers that are supported.
HEAVY = re.compile(r"^(nlohmann/.*|iostream|sstream|fstream|regex|stb.*)$")
FORBIDDEN = re.compile(r"^(format|ranges|source_location)$")
EIGEN = re.compile(r"^(unsupported/)?Eigen/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

LEAST_MUTATIONS = 5
UMBRELLA = "include/mta/mta.hpp"
UMBRELLA_ROOMS = ("check", "core", "fast", "layers", "models", "ops", "optim", "tasks")


def includes(tree, path):
    """(line number, bracket, name) of every include directive."""
    for number, line in enumerate(tree.lines(path), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def room_of(path):
    """core for include/mta/core/tensor.hpp; nothing for files directly in include/mta."""
    parts = path.split("/")
    return parts[2] if len(parts) > 3 else None


def include_order(tree):
    """A room includes only itself and the rooms above it; ops include core only."""
    for path in tree.below("include/mta"):
        room = room_of(path)
        if room is None:
            continue
        if room not in MAY_INCLUDE:
            yield f"{path}: got room {room}, expected one of {', '.join(MAY_INCLUDE)}"
            continue
        for number, bracket, name in includes(tree, path):
            where = f"{path}:{number}: got #include of {name}, expected"
            if bracket == '"':
                yield f"{where} angle brackets and a path from mta/"
            elif name.startswith("mta/") and name.count("/") > 1 and name.split("/")[1] not in MAY_INCLUDE[room]:
                yield f"{where} only {', '.join(sorted(MAY_INCLUDE[room]))} in room {room}"
            elif name == "mta/mta.hpp":
                yield f"{where} the headers that are needed, not the umbrella"


def light_includes(tree):
    """JSON, streams and regex stay in io, oracle and train; Eigen comes through core; no C++20 header that g++ 12 lacks."""
    for path in tree.below("include/mta"):
        room = room_of(path)
        for number, _, name in includes(tree, path):
            where = f"{path}:{number}: got #include of {name}, expected"
            if FORBIDDEN.match(name):
                yield f"{where} nothing that g++ 12 or clang 14 lacks"
            elif HEAVY.match(name) and room not in HAND_WRITTEN_JSON:
                yield f"{where} it in the rooms io, oracle and train only"
            elif EIGEN.match(name) and room != "core":
                yield f"{where} Eigen through mta/core/tensor.hpp"


def enough_mutations(tree):
    """Every mutation list holds at least five mutations with different names, a reason, a find and a replace."""
    for path in tree.below("tests/mutations", ".json"):
        try:
            found = json.loads(tree.text(path))
        except ValueError as error:
            yield f"{path}: got text that is no JSON ({error}), expected a list of mutations"
            continue
        if not isinstance(found, list) or len(found) < LEAST_MUTATIONS:
            size = len(found) if isinstance(found, list) else type(found).__name__
            yield f"{path}: got {size} mutations, expected a list of at least {LEAST_MUTATIONS}"
            continue
        for number, entry in enumerate(found):
            if not isinstance(entry, dict) or not {"name", "why", "find", "replace"} <= entry.keys():
                yield f"{path}: got entry {number} without name, why, find or replace, expected all four"
        names = [entry.get("name") for entry in found if isinstance(entry, dict)]
        if len(set(names)) < len(names):
            yield f"{path}: got a name twice, expected different names"


def mirror(tree):
    """Every header has its twins: tests for all rooms, docs for what models are made of, fixtures and mutations for ops."""
    twins = {room: ["tests/{room}/{stem}.cpp"] for room in MAY_INCLUDE}
    for room in ("layers", "models", "optim", "tasks", "train"):
        twins[room] += [f"docs/{room}/{{stem}}.md"]
    twins["ops"] += ["docs/ops/{stem}.md", "tests/golden/ops/{stem}.py", "tests/golden/ops/{stem}.safetensors",
                     "tests/mutations/ops/{stem}.json"]
    for room, patterns in twins.items():
        for stem in tree.stems(f"include/mta/{room}", ".hpp"):
            for pattern in patterns:
                twin = pattern.format(room=room, stem=stem)
                if twin not in tree:
                    yield f"include/mta/{room}/{stem}.hpp: got no {twin}, expected this twin of the header"


def orphans(tree):
    """What is named after an op belongs to an op that exists; a long test may go on in <stem>_<more>.cpp."""
    stems = set(tree.stems("include/mta/ops", ".hpp"))
    for folder, suffix in (("tests/ops", ".cpp"), ("docs/ops", ".md"), ("bench/ops", ".cpp"),
                           ("tests/golden/ops", ".py"), ("tests/golden/ops", ".safetensors")):
        for stem in tree.stems(folder, suffix):
            goes_on = folder == "tests/ops" and any(stem.startswith(op + "_") for op in stems)
            if stem not in stems and not goes_on and not (suffix == ".md" and stem == "README"):
                yield f"{folder}/{stem}{suffix}: got no include/mta/ops/{stem}.hpp, expected the op it is named after"
    for path in tree.below("tests/mutations", ".json"):
        header = f"include/mta/{Path(path).parent.name}/{Path(path).stem}.hpp"
        if header not in tree:
            yield f"{path}: got no {header}, expected the header it is named after"


def own_namespace(tree):
    """A test or benchmark keeps everything after its includes in a namespace of its own: files are compiled in batches.

    Twins in fast/ have the stems of others, so the room is part of their names; bench/workers are programs.
    """
    for kind, folders in (("test", [f"tests/{room}" for room in MAY_INCLUDE]), ("bench", ["bench"])):
        for path in (path for folder in folders for path in tree.below(folder, ".cpp")):
            if path.startswith("bench/workers/"):
                continue
            room = "fast_" if Path(path).parent.name == "fast" else ""
            name = f"mta_{kind}_{room}{Path(path).stem}"
            code = [(number, line) for number, line in enumerate(tree.lines(path), start=1)
                    if line.strip() and not line.startswith(("//", "#define", "#pragma"))]
            after = [(number, line) for number, line in code if not line.startswith("#include")]
            first, last = (after[0], after[-1]) if after else ((1, "nothing"), (1, "nothing"))
            if first[1] != f"namespace {name} {{":
                yield f"{path}:{first[0]}: got '{first[1]}', expected 'namespace {name} {{' after the includes"
            elif last[1] != f"}}  // namespace {name}":
                yield f"{path}:{last[0]}: got '{last[1]}', expected '}}  // namespace {name}' at the end"
            yield from (f"{path}:{number}: got {line} in namespace {name}, expected it above"
                        for number, line in code if line.startswith("#include") and number > first[0])


def umbrella_text(tree):
    """mta.hpp as it should be: every public header of the rooms that need Eigen alone."""
    paths = [path for room in UMBRELLA_ROOMS for path in tree.below(f"include/mta/{room}", ".hpp")
             if "/detail/" not in path]
    lines = [
        "// Every operation, layer, model, optimizer, task, fast twin and check; io, oracle and train are included by themselves.",
        "// SPDX-License-Identifier: MIT",
        "//",
        "// Written by tests/hygiene/check.py --write-umbrella and compared with its output by the tests.",
        "#pragma once",
        "",
        *(f"#include <{path.removeprefix('include/')}>" for path in sorted(paths + ["include/mta/version.hpp"])),
    ]
    return "\n".join(lines) + "\n"


def umbrella(tree):
    """mta.hpp includes every header of the rooms that need Eigen alone, and nothing else."""
    if UMBRELLA not in tree or tree.text(UMBRELLA) != umbrella_text(tree):
        yield f"{UMBRELLA}: got another list of headers than the folders hold, expected the output of " \
              "'python3 tests/hygiene/check.py --write-umbrella'"
