"""Command lines and files of gen and vectors that mta-oracle must refuse.

SPDX-License-Identifier: MIT
"""

import json

import tiny_safetensors as tiny


def case_options(harness):
    """Malformed options end with 2 and write nothing."""
    says = harness.expect
    gen = ["gen", "--out", "new"]
    says(2, ["gen"], "--out is required")
    says(2, ["gen", "--suite", "smoke"], "--out is required")
    says(2, gen, "neither --suite nor --case")
    says(2, [*gen, "--suite", "smoke", "--case", "sdpa"], "both --suite and --case")
    for suite in ("smok", "", "smoke,full", "SMOKE"):
        says(2, [*gen, "--suite", suite], f"got '{suite}', expected one of smoke, full, adversarial, exact")
    for io in ("fp8", "float32", "", "fp64"):
        says(2, [*gen, "--suite", "smoke", "--io", io], f"got '{io}', expected one of fp32, bf16, fp16")
    for seed in ("-1", "1.5", "", "x", "18446744073709551616", " 1", "0x10"):
        says(2, [*gen, "--suite", "smoke", "--seed", seed], f"got '{seed}', expected an integer from 0 to 2^64 - 1")
    says(2, [*gen, "--suite", "smoke", "--profile", "paper-880"], "unknown profile 'paper-880', the nearest known is 'paper-880m'")
    says(2, [*gen, "--suite", "smoke", "--profile", "a\nb\x1b[2J"], "unknown profile 'a\\x0ab\\x1b[2J'")
    for case in ("", "sdpa/", "sdpa/B1_B2", "sdpa fill=nrmal", "sdpa eps=nan", "sdpa/S8 document_starts=0,9",
                 "paper-880m/H4", "sdpa mask=both", "sdpa seed=1 seed=1", "sdpa\x1b[2J", "sdpa/S3\n"):
        says(2, [*gen, "--case", case])
    says(2, ["gen", "--suits", "smoke"], "'--suits', the nearest known is '--suite'")
    says(3, ["gen", "--suite", "smoke", "--out", ""], "cannot write ")
    says(2, ["vectors"], "got 0 sets, expected one of --pocket, --smoke, --full")
    says(2, ["vectors", "--pocket", "--smoke", "--out", "new"], "got 2 sets")
    says(2, ["vectors", "--pocket"], "neither --out nor --verify")
    says(2, ["vectors", "--pocket", "--out", "new", "--verify", "new"], "both --out and --verify")
    says(2, ["vectors", "--pocket", "--veryfy", "new"], "'--veryfy', the nearest known is '--verify'")
    for options in (["--pocket"], ["--smoke"], ["--full"]):
        says(3, ["vectors", *options, "--verify", "none"], "cannot read none: No such file or directory")
    says(3, ["vectors", "--smoke", "--verify", "c.json"], "c.json")
    says(3, ["vectors", "--pocket", "--verify", "."], "cannot read .: it is a directory")
    says(3, ["vectors", "--pocket", "--out", "none/new"], "cannot write ")
    says(3, ["vectors", "--smoke", "--out", "c.json"], "cannot write c.json: it is a file")


def pocket_files(harness):
    """Damaged vectors: one sentence each."""
    harness.start(["vectors", "--pocket", "--out", "good.json"])
    good = json.loads((harness.folder / "good.json").read_text(encoding="utf-8"))
    verify = ["vectors", "--pocket", "--verify", "bad.json"]

    def bad(code, change, part):
        document = json.loads(json.dumps(good))
        changed = change(document)
        document = document if changed is None else changed
        harness.file("bad.json", json.dumps(document))
        harness.expect(code, verify, part)

    bad(3, lambda d: [], "got array, expected an object")
    bad(3, lambda d: d.pop("schema") and None, "schema: got none")
    bad(3, lambda d: d.update(schema="mta.vectors.pocket/2"), "schema: got 'mta.vectors.pocket/2'")
    bad(3, lambda d: d.update(cases=[]), "cases: got none, expected a list")
    bad(3, lambda d: d["cases"].append(1), "case 3: got number, expected an object")
    bad(2, lambda d: d["cases"][0].update(case="sdpq/B1"), "unknown profile 'sdpq'")
    bad(2, lambda d: d["cases"][0].update(case="sdpa\n\x1b[2J"), "unknown profile")
    bad(1, lambda d: d["cases"].pop() and None, "got no such case, expected it")
    bad(1, lambda d: d["cases"].append(d["cases"][0]), "got this case, expected one of the set, once")
    bad(3, lambda d: d["cases"][0]["inputs"]["q"].update(shape=[1 << 62, 1 << 62]), "shape: got")
    bad(3, lambda d: d["cases"][0]["inputs"]["q"].update(values=[1]), "expected a hexadecimal float as text")
    bad(3, lambda d: d["cases"][0]["outputs"].update(out=None), "got no shape and values")
    for text in ("", "{", "[1", "\x00", '{"cases": 1, "cases": 2}'):
        harness.file("bad.json", text)
        harness.expect(3, verify, "bad.json: ")


def vector_folders(harness):
    """A folder of vectors with one file changed."""
    harness.start(["vectors", "--smoke", "--out", "v"])
    verify = ["vectors", "--smoke", "--verify", "v"]
    folder = harness.folder / "v"
    suite = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    first = suite["cases"][0]
    expected = folder / first["expected"]
    tensors, metadata = tiny.load(expected)
    good = expected.read_bytes()
    for name in ("out", "out.low", "grad.k"):
        changed = dict(tensors)
        values = changed[name].values()
        values[-1] += 1e-15 * max(map(abs, tensors["out"].values()))
        changed[name] = tiny.f64(changed[name].shape, values)
        expected.write_bytes(tiny.dump(changed, metadata))
        harness.expect(1, verify, f"output {name.removesuffix('.low')}: got a relative error of")
    expected.write_bytes(tiny.dump({n: t for n, t in tensors.items() if n != "out"}))
    harness.expect(1, verify, "output out: got none")
    expected.write_bytes(good[:-1])
    harness.expect(3, verify, "expected.safetensors")
    expected.unlink()
    harness.expect(3, verify, "cannot read ")
    expected.write_bytes(good)
    harness.expect(0, verify, "agrees")
    inputs = folder / first["in"]
    inputs.write_bytes(inputs.read_bytes()[:-1] + b"\x55")
    harness.expect(3, verify, "as suite.json says")
