"""Writes the fixtures of tests/io with the real packages: safetensors, NumPy and PyTorch.

SPDX-License-Identifier: MIT

Run it in its own folder: python make_io_fixtures.py. The same versions give the same bytes. Made with
safetensors 0.8.0, NumPy 2.4.6 and PyTorch 2.15.0.
"""

import io
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

HERE = Path(__file__).resolve().parent


def write_safetensors(stem, tensors, metadata=None):
    """Saves the file. The package puts several metadata keys in random order: tries until it is the given one."""
    while True:
        data = save_safetensors(tensors, metadata=metadata)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        if list(header.get("__metadata__", {})) == list(metadata or {}):
            break
    (HERE / f"{stem}.safetensors").write_bytes(data)


def safetensors_fixtures():
    """One file per thing that a rewrite could get wrong."""
    numbers = [-1.5, 0.0, 0.1, 1e-3, 65504.0, -0.0]
    integers = [-(2**31), -1, 0, 1, 2**31 - 1]
    all_types = {
        "f64": torch.tensor(numbers, dtype=torch.float64).reshape(2, 3),
        "f32": torch.tensor(numbers, dtype=torch.float32).reshape(3, 2),
        "f16": torch.tensor(numbers, dtype=torch.float16),
        "bf16": torch.tensor(numbers, dtype=torch.bfloat16),
        "i64": torch.tensor([-(2**63), *integers, 2**63 - 1], dtype=torch.int64),
        "i32": torch.tensor(integers, dtype=torch.int32),
        "u8": torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True], dtype=torch.bool),
    }
    write_safetensors("all_types", all_types, {"mta.generator": "make_io_fixtures.py"})
    names = ["", "a.b.c", "gewicht \u00fc", "\u6ce8\u610f", "\U0001f642", "quote\" back\\slash / tab\t nl\n\x01\x7f"]
    write_safetensors(
        "names",
        {name: torch.full((n + 1,), float(n)) for n, name in enumerate(names)},
        {"z": "last key first", "schl\u00fcssel": "Gr\u00f6\u00dfe 3 \u00b5m", "a": 'line\nbreak "quoted" \\ \x1f', "empty": ""},
    )
    shapes = {
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "zero": torch.zeros(0),
        "zero_inside": torch.zeros(3, 0, 2, dtype=torch.float64),
        "five": torch.arange(24, dtype=torch.int64).reshape(1, 2, 3, 1, 4),
        "odd": torch.arange(7, dtype=torch.uint8),
    }
    write_safetensors("shapes", shapes)
    write_safetensors("no_tensors", {}, {"only": "metadata"})
    write_safetensors("nothing", {})


def rounding_fixture():
    """Numbers that are hard to round, with NumPy's binary16 (direct from both widths) and PyTorch's bfloat16."""
    rng = np.random.default_rng(16)
    spread = np.ldexp(rng.uniform(1, 2, 120), rng.integers(-28, 17, 120)) * rng.choice([-1, 1], 120)
    halves = np.arange(0, 0x7C00, 331, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = (halves[:-1] + halves[1:]) / 2
    after = np.arange(1, 0x7C00, 331, dtype=np.uint16).view(np.float16).astype(np.float64)
    exact_ties = (halves + after) / 2
    above, below = np.nextafter(exact_ties, np.inf), np.nextafter(exact_ties, 0)
    edges = [0.0, -0.0, np.inf, -np.inf, 65519.99, 65520.0, 65536.0, 2.0**-25, np.nextafter(2.0**-25, 1), 2.0**-24]
    f64 = np.concatenate([spread, ties, exact_ties, above, below, edges, -exact_ties])
    bits = rng.integers(0, 0x7F800000, 240, dtype=np.uint32)
    tie_bits = (rng.integers(0, 0x7F80, 60, dtype=np.uint32) << 16) | 0x8000
    f32 = np.concatenate([bits, tie_bits, tie_bits + 1, tie_bits - 1]).astype(np.uint32).view(np.float32)
    f32 = np.concatenate([f32, -f32[::3], f64[:200].astype(np.float32)])
    with np.errstate(over="ignore"):
        halves_of = {"f64_as_f16": f64.astype(np.float16), "f32_as_f16": f32.astype(np.float16)}
    tensors = {"f64": f64, "f32": f32, **halves_of}
    tensors = {name: torch.from_numpy(array) for name, array in tensors.items()}
    tensors["f32_as_bf16"] = tensors["f32"].to(torch.bfloat16)
    write_safetensors("rounding", tensors)


def npy_fixtures():
    """Both byte orders, both element orders, all versions, and headers that need every kind of padding."""
    count = np.arange(24).reshape(2, 3, 4)
    # Arithmetic returns native byte order: astype comes last.
    arrays = {
        "f8": count.astype("<f8") / 8,
        "f4": count[0].astype("<f4") / 8,
        "f2": count[0, 0].astype("<f2") / 8,
        "i8": count.astype("<i8") - 2**40,
        "i4": count[0].astype("<i4") - 5,
        "u1": count.astype("u1"),
        "b1": count[0] % 3 == 0,
        "scalar": np.array(2.5),
        "zero": np.zeros((0, 3)),
        "wide": np.zeros((1,) * 18 + (2,), dtype="u1"),
        "big_f8": (count[0] / 8).astype(">f8"),
        "big_f2": (count[0] / 8).astype(">f2"),
        "big_i4": (count[0] - 5).astype(">i4"),
        "fortran_f8": np.asfortranarray(count.astype("<f8") / 8),
        "fortran_big_i4": np.asfortranarray((count[0] - 5).astype(">i4")),
    }
    for stem, array in arrays.items():
        np.save(HERE / f"{stem}.npy", array)
    for major in (2, 3):
        with open(HERE / f"version{major}.npy", "wb") as file:
            np.lib.format.write_array(file, count[0].astype("<f4") / 8, version=(major, 0))
    # Headers whose text ends beside or on a multiple of 64: NumPy adds a whole block where none is needed.
    with open(HERE / "paddings.txt", "w", encoding="ascii") as file:
        for rank in range(2, 33):
            for digits in range(1, 5):
                shape = (1,) * (rank - 1) + (10 ** (digits - 1),)
                stream = io.BytesIO()
                np.save(stream, np.zeros(shape, dtype="u1"))
                header = stream.getvalue()[: -shape[-1]]
                padding = len(header) - len(header.rstrip()) - 20 - 1  # less the room to grow and the newline
                if padding in (1, 2, 63, 64):
                    file.write(f"{rank} {shape[-1]} {header.hex()}\n")


if __name__ == "__main__":
    safetensors_fixtures()
    rounding_fixture()
    npy_fixtures()
