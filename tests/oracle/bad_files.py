"""Tensors and safetensors files that mta-oracle must refuse.

SPDX-License-Identifier: MIT
"""

import hashlib
import struct

import tiny_safetensors as tiny
from good_runs import GOLDEN

EVAL = ["eval", "--config", "c.json", "--in", "bad.safetensors", "--out", "new"]
COMPARE = [["compare", "bad.safetensors", "in.safetensors"], ["compare", "in.safetensors", "bad.safetensors"]]


def tensors(harness):
    """Every tensor of a case missing, misnamed, of every wrong shape and of a wrong type."""
    stem = GOLDEN / "paper_batch_gqa"
    harness.file("c.json", stem.with_suffix(".json").read_bytes())
    good, _ = tiny.load(stem.with_suffix(".in.safetensors"))

    def judge(code, changed, says):
        harness.file("bad.safetensors", tiny.dump(changed))
        harness.expect(code, EVAL, says)

    for name, tensor in good.items():
        quoted = f"tensor '{name}'"
        others = {other: t for other, t in good.items() if other != name}
        if name != "d_out":
            judge(3, others, f"{quoted}: got none of this name, expected one of shape ")
        judge(3, others | {name + "x": tensor}, f"unknown tensor '{name}x', the nearest known is '{name}'")
        judge(3, others | {name: tensor._replace(dtype="I64")}, f"{quoted}: got dtype I64, expected F64")
        judge(2, others | {name: tensor._replace(shape=(1, *tensor.shape))}, f"{quoted}: got shape [1, ")
        judge(2, others | {name: tensor._replace(shape=(tensor.count,)) if len(tensor.shape) > 1 else
                           tensor._replace(shape=(tensor.count, 1))}, f"{quoted}: got shape [{tensor.count}")
        for axis, extent in enumerate(tensor.shape):
            for changed in {0, extent + 1} - {extent}:
                shape = (*tensor.shape[:axis], changed, *tensor.shape[axis + 1:])
                data = tensor.data[:8] * (tensor.count // extent * changed)
                says = "got shape" if name == "q" else f"{quoted}: got shape"
                judge(2, others | {name: tiny.Tensor("F64", shape, data)}, says)
    judge(3, {}, "tensor 'q': got none of this name, expected one of shape [B, H, S, D]")
    judge(3, good | {"out": good["q"]}, "unknown tensor 'out'")
    judge(3, good | {"a\n\x1b[2J": good["q"]}, "unknown tensor 'a\\x0a\\x1b[2J'")
    judge(2, {name: t._replace(shape=(*t.shape[:2], 0, 3), data=b"") if len(t.shape) == 4 else t
              for name, t in good.items() if name[0] in "qkvd"} | {n: t for n, t in good.items() if "." in n},
          "q: got a sequence length of 0, expected at least 1")


def hostile_headers():
    """(what follows the length of the header, what the sentence says)."""
    def entry(**changes):
        return {"q": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]} | changes}

    text = '{"dtype":"F64","shape":[1],"data_offsets":[0,8]}'
    return [
        ("", "header"), ("[]", "expected {"), ('{"q":}', "JSON"), ("nonsense", "expected {"), ("{}", "no tensor owns"),
        (b'{"\xff":1}', "UTF-8"), (f'{{"q":{text},"q":{text}}}', "twice"),
        (entry(dtype="F128"), "got dtype 'F128'"), (entry(shape=[2]), "expected 16 for F64 of shape [2]"),
        (entry(shape=[-1]), "-1"), (entry(shape=[1.0]), "1.0"), (entry(shape=[1 << 63]), "9223372036854775808"),
        (entry(shape=[1 << 40, 1 << 40]), "63 bits"), (entry(data_offsets=[8, 0]), "begin <= end"),
        (entry(data_offsets=[0, 1 << 40]), "expected at most the 8 bytes"), (entry(data_offsets=[0]), "data_offsets"),
        (entry(data_offsets=[0, 7]), "bytes"), (entry(extra=1), "extra"), ("[" * 100000, "expected {"),
        ('{"q":' * 50000 + "}", "unknown field 'q'"), ({"__metadata__": {"a": 1}} | entry(), "expected a text"),
    ]


def hostile_tensors_files(harness):
    """A good file cut at many places, headers that lie, and damaged lengths: exit code 3 every time."""
    def judge(content, says):
        harness.file("bad.safetensors", content)
        harness.expect(3, EVAL, says)
        for arguments in COMPARE:
            harness.expect(3, arguments, says)

    whole = (harness.folder / "in.safetensors").read_bytes()
    sizes = [*range(0, 20), *range(20, len(whole), max(1, len(whole) // 40)), len(whole) - 1]
    for size in sizes:
        judge(whole[:size], "bad.safetensors: ")
    judge(whole + b"\0", "no tensor owns")
    for length in (0, 1, len(whole), (1 << 32) - 1, 100_000_001, (1 << 63) - 1, (1 << 64) - 1):
        judge(struct.pack("<Q", length) + whole[8:], "bad.safetensors: ")
    for header, says in hostile_headers():
        judge(tiny.pack(header, b"\0" * 8), says)


def digests(harness):
    """Where the metadata carry SHA-256 digests, they must hold; other metadata are nobody's business."""
    good, _ = tiny.load(harness.folder / "in.safetensors")
    right = {f"sha256.{name}": hashlib.sha256(tensor.data).hexdigest() for name, tensor in good.items()}
    wrong = {key: "0" * 64 for key in right}
    harness.file("bad.safetensors", tiny.dump(good, right | {"mta.seed": "5", "": "x", "sha256.none": "x"}))
    harness.expect(0, EVAL, "wrote 5 tensors", new=("new",))
    for name in good:
        key = f"sha256.{name}"
        harness.file("bad.safetensors", tiny.dump(good, right | {key: wrong[key]}))
        harness.expect(3, EVAL, f"tensor '{name}': got SHA-256 {right[key]}, expected '{wrong[key]}'")
        data = bytes([good[name].data[0] ^ 1]) + good[name].data[1:]
        harness.file("bad.safetensors", tiny.dump(good | {name: good[name]._replace(data=data)}, right))
        harness.expect(3, EVAL, (f"tensor '{name}': got SHA-256 ", right[key]))
    harness.file("bad.safetensors", tiny.dump(good, wrong))
    harness.expect(3, EVAL, "got SHA-256 ")
