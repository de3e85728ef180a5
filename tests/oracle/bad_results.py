"""Folders of results that are damaged, incomplete or wrong, and exact cases of which one bit is wrong.

SPDX-License-Identifier: MIT
"""

import json
import shutil
import struct

import tiny_safetensors as tiny
from candidates import CASE


def answered(harness, folder, *options):
    """Writes a folder of cases with the reference's answers in float32; returns the entries of its suite.json."""
    harness.expect(0, ["gen", *options, "--out", folder], new=(f"{folder}/",))
    cases = json.loads((harness.folder / folder / "suite.json").read_text(encoding="utf-8"))["cases"]
    for case in cases:
        harness.start(["eval", "--config", f"{folder}/{case['config']}", "--in", f"{folder}/{case['in']}",
                       "--out", f"{folder}/{case['out']}", "--dtype", "float32", "--trace"])
    return cases


def changed(tensor, element, value):
    """The F32 tensor with another value at one element."""
    data = bytearray(tensor.data)
    struct.pack_into("<f", data, 4 * element, value)
    return tensor._replace(data=bytes(data))


def outputs(harness):
    """One result file after the other: right, incomplete, misshapen, misnamed, of a wrong type, cut short, not there."""
    case, = answered(harness, "r", "--case", CASE)
    path = harness.folder / "r" / case["out"]
    good, _ = tiny.load(path)
    out, grad_q = good["out"], good["grad.q"]

    def judge(code, tensors, part, *options):
        path.write_bytes(tensors if isinstance(tensors, bytes) else tiny.dump(tensors))
        return harness.expect(code, ["check", "--results", "r", *options], part)

    def without(*names):
        return {name: t for name, t in good.items() if name not in names}

    process = judge(0, good, "agrees: 1/1")
    judge(0, without(*(name for name in good if name.startswith("stage."))), "agrees: 1/1")
    judge(0, without(*(name for name in good if name.startswith("grad."))), "agrees", "--expect", "forward")
    judge(5, without("grad.q"), "owed and not given in 1 of 1 cases: grad.q")
    judge(5, without("out"), "owed and not given in 1 of 1 cases: out")
    judge(5, {}, "owed and not given")
    judge(5, without("grad.q") | {"grad.qq": grad_q}, "owed and not given in 1 of 1 cases: grad.q")
    judge(1, good | {"out": changed(out, 3, float("nan"))}, ("out ", "inf", "nan"))
    judge(1, good | {"out": changed(out, 3, float("inf"))}, "out ")
    judge(1, good | {"out": out._replace(data=bytes(len(out.data)))}, "all 0")
    process = judge(1, good | {"grad.q": changed(grad_q, 7, 1.0)}, "grad.q")
    if "effective" in process.stdout:
        harness.fail(["check", "--results"], "got effects of a folder, which cannot be called, expected none")
    for shape in ((*out.shape[:2], out.shape[3], out.shape[2]), (out.count,), (1, *out.shape), (out.count, 1, 1, 1)):
        judge(1, good | {"out": out._replace(shape=shape)}, "out")
    judge(3, good | {"out": tiny.Tensor("I32", out.shape, out.data)}, "tensor 'out': got dtype I32")
    whole = tiny.dump(good)
    for damaged in (b"", whole[:7], whole[:40], whole[:-1], whole + b"\0", b"\xff" * 64, b"{}", tiny.pack("[1]")):
        judge(3, damaged, case["out"])
    path.unlink()
    harness.expect(5, ["check", "--results", "r"], "owed and not given")
    path.mkdir()
    harness.expect(3, ["check", "--results", "r"], case["out"])


def folders(harness):
    """Folders that hold no case, a part of one, or not what suite.json says."""
    case, = answered(harness, "good", "--case", CASE)
    says = harness.expect
    check = ["check", "--results"]
    (harness.folder / "empty").mkdir()
    for command in ("check", "diagnose"):
        says(3, [command, "--results", "none"], "cannot read none")
        says(3, [command, "--results", "c.json"], "c.json")
        says(3, [command, "--results", "empty"], "got no case, expected NAME.json and NAME.in.safetensors")
        says(2, [command, "--results", ""], "--results: got ''")
        says(2, [command, "--results", "good", "--suite", "smoke"], "expected the folder alone")
        says(2, [command, "--results", "good", "--backend", "reference"], "got 2 of --results, --lib and --backend")
        says(2, [command, "--results", "good", "--case", "none"], "got 'none', which is no case of good")
    says(0, [*check, "good", "--case", case["name"]], "agrees: 1/1")
    says(2, [*check, "good", "--case", case["name"], "--case", "none"], "got 'none', which is no case of good")
    says(2, [*check, "good", "--rounding", "garbage"], "got 'garbage'")
    for report in (case["out"], case["in"], case["config"]):
        says(2, [*check, "good", "--json", f"good/{report}"], "which is also read, expected another file")


def suite_files(harness):
    """Files of a folder that contradict suite.json, and a folder without one."""
    case, = answered(harness, "good", "--case", CASE)

    def damaged(code, part, change):
        shutil.rmtree(harness.folder / "bad", ignore_errors=True)
        shutil.copytree(harness.folder / "good", harness.folder / "bad")
        change(harness.folder / "bad")
        harness.expect(code, ["check", "--results", "bad"], part)

    def suite(change):
        def rewrite(folder):
            document = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
            (folder / "suite.json").write_text(json.dumps(change(document) or document), encoding="utf-8")
        return rewrite

    def first(**members):
        return suite(lambda document: document["cases"][0].update(members))

    damaged(3, "suite.json", lambda folder: (folder / "suite.json").write_text("{", encoding="utf-8"))
    damaged(3, "suite.json", suite(lambda document: [1]))
    damaged(3, "schema", suite(lambda document: document.update(schema="mta.suite/2")))
    damaged(3, "cases: got", suite(lambda document: document.update(cases=3)))
    damaged(3, "twice", suite(lambda document: document["cases"].append(document["cases"][0])))
    damaged(3, "expected the name of a file in the same folder", first(out="../out"))
    damaged(3, "case: got number", first(case=3))
    damaged(2, "unknown profile 'garbage'", first(case="garbage"))
    damaged(3, "as suite.json says", first(in_sha256="0" * 64))
    damaged(3, "cannot read", lambda folder: (folder / case["in"]).unlink())
    damaged(3, "cannot read", lambda folder: (folder / case["config"]).unlink())
    damaged(3, "as suite.json says", lambda folder: (folder / case["config"]).write_text("{}", encoding="utf-8"))

    def unlisted(config):
        def rewrite(folder):
            (folder / "suite.json").unlink()
            (folder / case["config"]).write_text(config, encoding="utf-8")
        return rewrite

    damaged(2, "heads", unlisted("{}"))
    damaged(2, "unknown key 'head', the nearest known is 'heads'", unlisted('{"head": 2, "head_dim": 4}'))
    damaged(2, "tensor 'q': got shape", unlisted('{"heads": 3, "head_dim": 4}'))


def exact(harness):
    """Exact rows are judged with tolerance 0: the reference in float32 agrees, one last bit is a mismatch."""
    cases = answered(harness, "e", "--suite", "exact")
    harness.expect(0, ["check", "--results", "e"], "agrees: ")
    for fill, name in (("exact-integers", "stage.logits"), ("zero-scores", "out"), ("zero-scores", "stage.weights"),
                       ("one-hot", "stage.logits")):
        # `out` is exact only where no norm and no gate follow.
        case = next(c for c in cases if f"fill={fill} " in c["case"] and
                    (c["case"].startswith("sdpa") or "gate=none" in c["case"]))
        path = harness.folder / "e" / case["out"]
        before = path.read_bytes()
        good, _ = tiny.load(path)
        tensor = good[name]
        values = struct.unpack(f"<{tensor.count}f", tensor.data)
        # Row 1 of head 0 has two keys, and so has every mask: its weights are a half or one, none of them rounded.
        row = range(tensor.shape[3], 2 * tensor.shape[3])
        element = next(n for n in row if values[n] != 0)
        bits, = struct.unpack_from("<I", tensor.data, 4 * element)
        nudged, = struct.unpack("<f", struct.pack("<I", bits + 1))
        path.write_bytes(tiny.dump(good | {name: changed(tensor, element, nudged)}))
        process = harness.expect(1, ["check", "--results", "e", "--case", case["name"]], (name, "inf"))
        if "FAIL" not in process.stdout:
            harness.fail([fill, name], "got no FAIL, expected one")
        path.write_bytes(before)
    # The same nudge is far inside the tolerance of a case that is not exact.
    case, = answered(harness, "n", "--case", CASE)
    path = harness.folder / "n" / case["out"]
    good, _ = tiny.load(path)
    bits, = struct.unpack_from("<I", good["out"].data, 4 * 9)
    nudged, = struct.unpack("<f", struct.pack("<I", bits + 1))
    path.write_bytes(tiny.dump(good | {"out": changed(good["out"], 9, nudged)}))
    harness.expect(0, ["check", "--results", "n"], "agrees: 1/1")
