"""Reads test vectors and makes their inputs again: python3 read_vectors.py PATH...

SPDX-License-Identifier: MIT

PATH is pocket.json or a folder of cases; where the folder holds full.sha256, its checksums are checked too. Only the
Python standard library is used, and nothing of the C++ library: recipe.py is docs/oracle/cases.md in Python. Prints one
line per path; exit status 1 when a bit differs.
"""

import hashlib
import json
import math
import struct
import sys
from pathlib import Path

from recipe import element, tensor_shapes


def parse_case(line):
    """Fill, seed and input type of a descriptor; sizes and stages are in the configuration beside it."""
    values = dict(word.split("=", 1) for word in line.split()[1:])
    return values["fill"], int(values["seed"]), values["io"]


def to_bytes(numbers, io):
    """The little-endian bytes of exact numbers in an input type."""
    if io == "bf16":
        return b"".join(struct.pack("<f", x)[2:] for x in numbers)
    return struct.pack(f"<{len(numbers)}{ {'fp32': 'f', 'fp16': 'e', 'fp64': 'd'}[io]}", *numbers)


def make_inputs(config, batch, sequence, line):
    """{name: (shape, numbers)} of a case, in the order of the files."""
    fill, seed, io = parse_case(line)
    made = {}
    for name, shape in tensor_shapes(config, batch, sequence).items():
        numbers = [element(fill, name, n, shape, config, seed, io) for n in range(math.prod(shape))]
        made[name] = (shape, numbers)
    return made


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a file."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], content[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def pocket(path):
    """Inputs of the pocket file against their recipe; float.fromhex reads the numbers."""
    checked, wrong = 0, []
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        batch, sequence = case["inputs"]["q"]["shape"][0], case["inputs"]["q"]["shape"][2]
        for name, (shape, numbers) in make_inputs(case["config"], batch, sequence, case["case"]).items():
            got = [float.fromhex(text) for text in case["inputs"][name]["values"]]
            checked += 1
            if case["inputs"][name]["shape"] != shape or struct.pack(f"{len(got)}d", *got) != struct.pack(
                    f"{len(numbers)}d", *numbers):
                wrong.append(f"{case['case']}: {name}")
    return checked, wrong


def folder(path):
    """Inputs of every case of a folder against their recipe."""
    checked, wrong, sums = 0, [], path / "full.sha256"
    lines = set(sums.read_text(encoding="utf-8").splitlines()) if sums.exists() else None
    for case in json.loads((path / "suite.json").read_text(encoding="utf-8"))["cases"]:
        tensors = read_safetensors(path / case["in"])
        config = json.loads((path / case["config"]).read_text(encoding="utf-8"))
        io = parse_case(case["case"])[2]
        batch, sequence = tensors["q"][1][0], tensors["q"][1][2]
        digest = hashlib.sha256()
        for name, (shape, numbers) in make_inputs(config, batch, sequence, case["case"]).items():
            made = to_bytes(numbers, io)
            digest.update(made)
            checked += 1
            if tensors[name][1] != shape or tensors[name][2] != made:
                wrong.append(f"{case['case']}: {name}")
        if lines is not None and f"{digest.hexdigest()}  {case['case']}" not in lines:
            wrong.append(f"{case['case']}: SHA-256 of its inputs")
    return checked, wrong


def main(paths):
    failed = False
    for path in map(Path, paths):
        checked, wrong = folder(path) if path.is_dir() else pocket(path)
        print(f"{path}: {checked} inputs, {len(wrong)} differ")
        for name in wrong:
            print(f"FAIL  {name}")
        failed = failed or bool(wrong) or checked == 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
