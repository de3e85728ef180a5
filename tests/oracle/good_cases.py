"""Runs of gen, profiles, stages and vectors that must succeed, and the cases that they write.

SPDX-License-Identifier: MIT
"""

import json
import subprocess
import sys
from pathlib import Path

import tiny_safetensors as tiny

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests/vectors"
READER = ROOT / "examples/vectors/read_vectors.py"
DTYPES = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}


def written(folder):
    """The files of a folder of cases, relative to the folder above, from its suite.json."""
    names = [f"{folder.name}/suite.json"]
    for case in json.loads((folder / "suite.json").read_text(encoding="utf-8"))["cases"]:
        names += [f"{folder.name}/{case[key]}" for key in ("config", "in")]
    return names


def generate(harness, out, *options, cases=None):
    """Runs gen into a new folder, checks that it wrote what it lists, and returns the list."""
    arguments = ["gen", *options, "--out", out]
    harness.expect(0, arguments, "wrote ", new=(f"{out}/",))
    folder = harness.folder / out
    listed = json.loads((folder / "suite.json").read_text(encoding="utf-8"))["cases"]
    found = {f"{out}/{path.name}" for path in folder.iterdir()}
    if found != set(written(folder)) or (cases is not None and len(listed) != cases):
        harness.fail(arguments, f"got {len(listed)} cases and files {sorted(found)[:4]}, expected what suite.json lists")
    return listed


def suites(harness):
    """Every suite and type: eval accepts each case, tensors have the type, the recipe in Python makes the same bits."""
    for suite, least in (("smoke", 18), ("exact", 30)):
        for io, dtype in DTYPES.items():
            out = f"{suite}-{io}"
            listed = generate(harness, out, "--suite", suite, "--io", io, "--seed", "2")
            if len(listed) < least:
                harness.fail([out], f"got {len(listed)} cases, expected at least {least}")
            tensors, metadata = tiny.load(harness.folder / out / listed[-1]["in"])
            if {t.dtype for t in tensors.values()} != {dtype} or metadata["mta.case"] != listed[-1]["case"]:
                harness.fail([out], f"got {metadata}, expected tensors of {dtype} and their descriptor")
    read = subprocess.run([sys.executable, "-B", READER, *(harness.folder / f"smoke-{io}" for io in DTYPES)],
                          capture_output=True, text=True, check=False)
    harness.runs += 1
    if read.returncode != 0 or read.stdout.count(" 0 differ") != 3:
        harness.fail([READER.name], f"got {read.stdout} {read.stderr[-300:]}, expected the same bits in three folders")
    for case in json.loads((harness.folder / "smoke-bf16/suite.json").read_text(encoding="utf-8"))["cases"]:
        harness.expect(0, ["eval", "--config", f"smoke-bf16/{case['config']}", "--in", f"smoke-bf16/{case['in']}",
                           "--out", "new"], "wrote ", new=("new",))


def options(harness):
    """Profiles, seeds, single cases; the same command writes the same bytes."""
    listed = generate(harness, "toy", "--suite", "smoke", "--profile", "paper-toy")
    if not all(case["case"].startswith("paper-toy/") for case in listed):
        harness.fail(["--profile", "paper-toy"], "got another profile's cases")
    line = "paper-880m/B2_H2_kv1_S3_D4_cq2_ck3_g2 fill=offset seed=5 io=bf16 document_starts=0,2;0"
    listed = generate(harness, "one", "--case", line, "--case", "sdpa/B1_H1_S2_D4", cases=2)
    if [case["case"] for case in listed] != [line, "sdpa/B1_H1_S2_D4 fill=normal seed=0 io=fp32"]:
        harness.fail(["--case", line], f"got {listed}, expected both cases in one order")
    generate(harness, "again", "--case", line, "--case", "sdpa/B1_H1_S2_D4", cases=2)
    generate(harness, "seed1", "--suite", "smoke", "--seed", "18446744073709551615")
    for path in (harness.folder / "one").iterdir():
        if (harness.folder / "again" / path.name).read_bytes() != path.read_bytes():
            harness.fail(["gen"], f"got other bytes in {path.name} the second time, expected the same")
    (harness.folder / "empty").mkdir()
    generate(harness, "empty", "--case", "sdpa/B1_H1_S2_D4", cases=1)
    (harness.folder / "no").write_text("a file")
    for out in ("one", "no", "none/none", "/proc/none", "no/none"):
        harness.expect(3, ["gen", "--suite", "smoke", "--out", out], "cannot write ")
    harness.expect(2, ["gen", "--case", "sdpa/B1_H1_S2_D4", "--case", "sdpa/S0", "--out", "bad"], "S: got 0, expected 1")
    harness.expect(2, ["gen", "--case", "sdpa/B1_H1_S3_D4096 fill=one-hot io=fp16", "--out", "bad"], "holds exactly")
    harness.expect(8, ["gen", "--case", "sdpa/B1000000_S1000000000", "--out", "bad"], "GiB of this machine")


def lists(harness):
    """profiles and stages say what exists."""
    harness.expect(0, ["profiles"], ("paper-880m", "paper-toy", "liger-post", "talking-heads", "sdpa", "mta-exact",
                                     "mta-sparsemax", "smoke", "full", "adversarial", "exact", "below-mask",
                                     '"query_kernel":6'))
    harness.expect(0, ["stages"], ("logits", "pre_conv", "pre_mix", "weights", "post_conv", "post_mix", "context",
                                   "norm", "gate", "stage.d_<name>", "Eq. 6"))
    for command in ("profiles", "stages"):
        harness.expect(2, [command, "more"], "more")
        harness.expect(2, [command, "--all"], "'--all', the nearest known is")


def vectors(harness):
    """Vectors are written, verified, and verified against those in the repository."""
    harness.expect(0, ["vectors", "--pocket", "--out", "pocket.json"], "wrote 3 cases", new=("pocket.json",))
    harness.expect(0, ["vectors", "--pocket", "--out", "pocket.json"], "wrote 3 cases", new=("pocket.json",))
    harness.expect(0, ["vectors", "--pocket", "--verify", "pocket.json"], "agrees: 3 cases, 20 inputs")
    harness.expect(0, ["vectors", "--smoke", "--out", "smoke"], "wrote 22 cases", new=("smoke/",))
    harness.expect(0, ["vectors", "--smoke", "--verify", "smoke"], "agrees: 22 cases")
    for options in (["--pocket", "--verify", "pocket.json"], ["--smoke", "--verify", "smoke"],
                    ["--full", "--verify", "full.sha256"]):
        harness.expect(0, ["vectors", *options[:-1], str(VECTORS / options[-1])], "agrees: ")
    text = (harness.folder / "pocket.json").read_text(encoding="utf-8")
    harness.file("pocket.json", text.replace("seed=1", "seed=9"))
    harness.expect(1, ["vectors", "--pocket", "--verify", "pocket.json"], ("FAIL  ", "mismatch: "))
    sums = (VECTORS / "full.sha256").read_text(encoding="utf-8")
    harness.file("sums", sums.replace("0", "1", 1))
    harness.expect(1, ["vectors", "--full", "--verify", "sums"], ("FAIL  sums: line 1", "mismatch: "))
    for case in sorted((harness.folder / "smoke").glob("*.in.safetensors"))[:3]:
        stem = f"smoke/{case.name.removesuffix('.in.safetensors')}"
        harness.expect(0, ["eval", "--config", f"{stem}.json", "--in", f"{stem}.in.safetensors", "--out", "new"],
                       new=("new",))
        harness.expect(0, ["compare", f"{stem}.expected.safetensors", "new"], ("agrees: ", "low words"))
