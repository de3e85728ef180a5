"""Runs of mta-oracle that must succeed, and comparisons whose verdict is known.

SPDX-License-Identifier: MIT
"""

import hashlib
import json
import math
from pathlib import Path

import tiny_safetensors as tiny

GOLDEN = Path(__file__).resolve().parents[1] / "golden/layers/multi_token_attention"
EVAL = ["eval", "--config", "c.json", "--in", "in.safetensors", "--out", "new"]


def small_case(harness):
    """c.json and in.safetensors: the golden case `toy`, which has one convolution before the softmax."""
    harness.file("c.json", (GOLDEN / "toy.json").read_bytes())
    harness.file("in.safetensors", (GOLDEN / "toy.in.safetensors").read_bytes())


def outputs(harness):
    """Names, shapes and metadata of what is written, with and without d_out and --trace."""
    good, _ = tiny.load(harness.folder / "in.safetensors")
    gradients = {"grad.q", "grad.k", "grad.v", "grad.pre.kernel"}
    stages = {"stage.logits", "stage.pre_conv", "stage.weights", "stage.context"}
    d_stages = {name.replace("stage.", "stage.d_") for name in stages}
    for d_out in (True, False):
        harness.file("in.safetensors", tiny.dump({n: t for n, t in good.items() if d_out or n != "d_out"}))
        for trace in (True, False):
            expected = {"out"} | (gradients if d_out else set()) | (stages if trace else set()) | (
                d_stages if d_out and trace else set())
            arguments = EVAL + ["--trace"] * trace
            harness.expect(0, arguments, f"wrote {len(expected)} tensors to new\n", new=("new",))
            got, metadata = tiny.load(harness.folder / "new")
            if set(got) != expected:
                harness.fail(arguments, f"got tensors {sorted(got)}, expected {sorted(expected)}")
            digests = {f"sha256.{name}": hashlib.sha256(t.data).hexdigest() for name, t in got.items()}
            config = json.loads(metadata.pop("mta.config"))
            if metadata.pop("mta.generator").split()[::2] != ["mta", "reference"] or metadata != digests:
                harness.fail(arguments, f"got metadata {metadata}, expected {digests} and mta.generator")
            if config["pre"] != {"query_kernel": 2, "key_kernel": 9, "key_padding": "both"}:
                harness.fail(arguments, f"got mta.config {config}, expected the configuration")
    plain = '{"heads": 2, "head_dim": 4}'
    harness.file("c.json", plain)
    harness.expect(0, EVAL, "note: input: tensor 'pre.kernel' is not read", new=("new",))


def types(harness):
    """F32, F16 and BF16 in, float32 arithmetic, an empty batch."""
    good, _ = tiny.load(harness.folder / "in.safetensors")
    harness.expect(0, EVAL, new=("new",))
    for dtype, error in (("F32", 1e-6), ("F16", 0.02), ("BF16", 0.2)):
        harness.file("in.safetensors", tiny.dump({name: tiny.narrowed(t, dtype) for name, t in good.items()}))
        harness.expect(0, [*EVAL[:-1], dtype], new=(dtype,))
        harness.expect(0, ["compare", "new", dtype, "--rtol", str(error)], "agrees: 5 tensors expected")
        harness.expect(1, ["compare", "new", dtype], "mismatch: 5 tensors expected")
    harness.file("in.safetensors", tiny.dump(good | {"d_out": tiny.narrowed(good["d_out"], "BF16")}))
    harness.expect(0, [*EVAL[:-1], "mixed"], new=("mixed",))
    harness.file("in.safetensors", tiny.dump(good))
    harness.expect(0, [*EVAL[:-1], "float", "--dtype", "float32", "--trace"], new=("float",))
    if {t.dtype for t in tiny.load(harness.folder / "float")[0].values()} != {"F32"}:
        harness.fail(["--dtype", "float32"], "got tensors that are not F32")
    harness.expect(0, ["compare", "new", "float", "--rtol", "1e-4"], "agrees")
    harness.expect(1, ["compare", "new", "float"], "mismatch")
    empty = {name: t._replace(shape=(0, *t.shape[1:]), data=b"") if len(t.shape) == 4 else t for name, t in good.items()}
    harness.file("in.safetensors", tiny.dump(empty))
    harness.expect(0, [*EVAL[:-1], "empty"], "wrote 5 tensors", new=("empty",))


def threads(harness):
    """The same bytes at any number of threads."""
    for name in ("paper_batch_gqa", "sparsemax_exact"):
        files = ["--config", str(GOLDEN / f"{name}.json"), "--in", str(GOLDEN / f"{name}.in.safetensors")]
        written = []
        for count in ("1", "2", "3", "8"):
            harness.expect(0, ["eval", *files, "--out", "new", "--trace"], new=("new",),
                           environment={"OMP_NUM_THREADS": count})
            written.append((harness.folder / "new").read_bytes())
        if len(set(written)) != 1:
            harness.fail(["eval", *files], "got different bytes at 1, 2, 3 and 8 threads, expected the same")


def comparisons(harness):
    """One verdict after the other, by name, and the JSON report of each."""
    one, nan = tiny.f64([2], [1, 2]), tiny.f64([2], [1, math.nan])
    large = tiny.Tensor("I64", (1,), ((1 << 53) + 1).to_bytes(8, "little"))
    zero_size = tiny.f64([0, 3], [])
    cases = [
        ({"t": one}, {"t": one}, 0, "  ok  t: agrees"),
        ({"t": one}, {"t": one, "u": one}, 0, "note  not in the expected file: u"),
        ({"t": one}, {"t": tiny.narrowed(one, "BF16")}, 0, "agrees: 1 tensors expected"),
        ({"t": one, "e": zero_size}, {"t": one, "e": zero_size}, 0, "e: nothing compared"),
        ({"t": one}, {"u": one}, 1, "FAIL  t: missing, expected it in the actual file"),
        ({"t": one}, {}, 1, "t: missing"),
        ({"t": one}, {"t": one._replace(shape=(2, 1))}, 1, "t: got shape [2, 1], expected shape [2]"),
        ({"t": one}, {"t": tiny.f64([2], [1, 2 + 1e-11])}, 1, "t: mismatch at [1]: got 2.00000000001, expected 2 "),
        ({"t": one}, {"t": tiny.f64([2], [1, 2 + 1e-12])}, 0, "agrees"),
        ({"t": one}, {"t": nan}, 1, "1 not finite"), ({"t": nan}, {"t": nan}, 1, "1 not finite"),
        ({"t": tiny.f64([1], [math.inf])}, {"t": tiny.f64([1], [math.inf])}, 1, "not finite"),
        ({"t": one}, {"t": one._replace(dtype="I64")}, 1, "t: got dtype I64, expected F64"),
        ({"t": large}, {"t": large}, 0, "agrees"),
        ({"t": large}, {"t": large._replace(data=(1 << 53).to_bytes(8, "little"))}, 1, "FAIL  t"),
        ({"t": zero_size}, {"t": zero_size}, 5, "no element was compared"),
        ({"t": zero_size}, {"t": tiny.f64([3, 0], [])}, 1, "got shape [3, 0]"),
        ({}, {"t": one}, 5, "mistrusted"), ({}, {}, 5, "mistrusted: 0 tensors expected"),
        ({"a\n  ok  b\x1b[2J": one}, {"\r": one}, 1, ("FAIL  a\\x0a  ok  b\\x1b[2J: missing", "note  not in the expected file: \\x0d")),
    ]
    verdicts = {0: "agrees", 1: "mismatch", 5: "mistrusted"}
    for expected, actual, code, says in cases:
        harness.file("expected", tiny.dump(expected))
        harness.file("actual", tiny.dump(actual))
        arguments = ["compare", "expected", "actual", "--json", "report"]
        harness.expect(code, arguments, says, new=("report",))
        report = json.loads((harness.folder / "report").read_text(encoding="utf-8"))
        if report["verdict"] != verdicts[code] or [t["name"] for t in report["tensors"]] != list(expected):
            harness.fail(arguments, f"got report {report}, expected verdict {verdicts[code]} on {list(expected)}")


def golden_cases(harness):
    """Every golden case through eval --trace and compare, at the default tolerance."""
    names = (GOLDEN / "cases.txt").read_text(encoding="utf-8").split()
    if len(names) < 25:
        harness.fail(["cases.txt"], f"got {len(names)} cases, expected at least 25")
    for name in names:
        stem = str(GOLDEN / name)
        harness.expect(0, ["eval", "--config", f"{stem}.json", "--in", f"{stem}.in.safetensors", "--out", "new",
                           "--trace"], new=("new",))
        process = harness.expect(0, ["compare", f"{stem}.out.safetensors", "new"], "agrees: ")
        if "note" in process.stdout or "FAIL" in process.stdout:
            harness.fail([name], f"got {process.stdout}, expected every tensor ok and none extra")


def one_element(harness):
    """One element of one tensor off by 1e-9 of its maximum: exactly that tensor is named."""
    path = GOLDEN / "paper_batch_gqa.out.safetensors"
    good, _ = tiny.load(path)
    for name, tensor in good.items():
        values = tensor.values()
        at = len(values) // 2
        values[at] += 1e-9 * max(map(abs, values))
        harness.file("actual", tiny.dump(good | {name: tiny.f64(tensor.shape, values)}))
        process = harness.expect(1, ["compare", str(path), "actual"], f"FAIL  {name}: mismatch at [")
        if process.stdout.count("FAIL") != 1 or f"(1 of {len(values)} elements" not in process.stdout:
            harness.fail([name], f"got {process.stdout}, expected one FAIL about one element")
