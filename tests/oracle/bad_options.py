"""Options of the commands that judge: malformed, out of range, contradictory, or about files that cannot be written.

SPDX-License-Identifier: MIT
"""

import candidates
from candidates import CASE, COMMANDS, REFERENCE

CASES = (
    ("", "unknown profile ''"), ("garbage", "unknown profile 'garbage'"), ("sdpa/", "case 'sdpa/'"),
    ("sdpa/S0", "S: got 0, expected 1 to"), ("sdpa/S-3", "'S-3'"), ("sdpa/S1.5", "S1.5"), ("sdpa/Sx", "'Sx'"),
    ("sdpa/B0", "B: got 0"), ("sdpa/D0", "D: got 0"), ("sdpa/H3_kv2", "kv"), ("sdpa/S9223372036854775808", "S: got"),
    ("sdpa/B4294967296_H4294967296_S4_D4", "B: got 4294967296"), ("sdpa/S4_S5", "S"),
    ("paper-880m/H4_g3", "mix_group"), ("sdpa fill=nrmal", "unknown fill 'nrmal'"), ("sdpa fill=", "fill"),
    ("sdpa fill=foo", "unknown fill 'foo', expected one of "), ("sdpa S=4", "unknown key 'S', expected one of "),
    ("sdpa seed=-1", "seed"), ("sdpa seed=1e3", "seed"), ("sdpa io=fp8", "io"), ("sdpa mask=both", "mask"),
    ("sdpa eps=nan", "eps"), ("sdpa seed=1 seed=1", "seed"), ("sdpa/S8 document_starts=0,9", "document"),
    ("sdpa/S8 document_starts=", "document"), ("sdpa nonsense=1", "nonsense"), ("sdpa\n\x1b[2J", "\\x0a\\x1b[2J"))
HUGE = ("sdpa/B1_H1_S200000_D4", "sdpa/B64_H64_S1073741824_D64", "sdpa/B1_H1_S1_D1073741824 io=fp16 fill=uniform norm=rms gate=vector")


def cases(harness):
    """Malformed cases end with 2, and those that no machine can hold with 8, in every command that takes one."""
    for command in COMMANDS:
        for case, part in CASES if command == "check" else CASES[:8]:
            harness.expect(2, [command, *REFERENCE, "--case", case], part)
    for command in (*COMMANDS[:3], *COMMANDS[4:]):  # identify takes the configuration alone
        for case in HUGE[:2]:
            harness.expect(8, [command, *REFERENCE, "--case", case], (" GiB", "expected at most the"))
    harness.expect(8, ["check", *REFERENCE, "--case", HUGE[2]], " GiB")
    harness.expect(2, ["power", "--case", "garbage"], "unknown profile 'garbage'")
    harness.expect(8, ["power", "--case", HUGE[0]], " GiB")


def values(harness):
    """Options out of range, unknown words and unknown options end with 2."""
    judge = lambda command, option, value, part: harness.expect(  # noqa: E731
        2, [command, *REFERENCE, "--case", CASE, option, value], part)
    for command in COMMANDS:
        for value in ("0", "-1", "nan", "inf", "1e300", "", "x", "86401"):
            judge(command, "--timeout", value, f"--timeout: got '{value}', expected more than 0 seconds, at most 86400")
        judge(command, "--dtype", "float16", "--dtype: got 'float16', expected one of float32, float64")
        judge(command, "--backend", "nonsense", "--backend")
        judge(command, "--cas", CASE, "'--cas', the nearest known is '--case'")
        harness.expect(2, [command, *REFERENCE, "--case", CASE, "more"], "more")
        harness.expect(2, [command, *REFERENCE, "--case"], "--case")
        harness.expect(0, [command, "--help"], ("--lib", "--symbol", "--misaligned", "--strided", "--case"))
    for command in ("check", "diagnose", "identities", "shrink", "gradcheck"):
        for value in ("garbage", "io=fp99", "io=fp32 io=fp32", "io", "=", "acc=fp32;p=bf16"):
            judge(command, "--rounding", value, "rounding: ")
        judge(command, "--rounding", "bf16", ("got 'bf16', expected one of fp64, fp32, ", "or pairs io=... acc=..."))
        judge(command, "--rounding", "bf16-flsh", "the nearest known is 'bf16-flash'")
        judge(command, "--rounding", "", "--rounding: got ''")


def suites(harness):
    """The options of check and diagnose alone, and those of the commands that take no candidate."""
    judge = lambda command, option, value, part: harness.expect(  # noqa: E731
        2, [command, *REFERENCE, "--case", CASE, option, value], part)
    for command in ("check", "diagnose"):
        for value in ("garbage", "", "smoke,full", "SMOKE"):
            harness.expect(2, [command, *REFERENCE, "--suite", value], f"--suite: got '{value}', expected one of smoke")
        harness.expect(2, [command, *REFERENCE, "--profile", "garbage"], "unknown profile 'garbage'")
        for option in (["--suite", "full"], ["--profile", "sdpa"], ["--io", "bf16"]):
            harness.expect(2, [command, *REFERENCE, "--case", CASE, *option], "expected the descriptors, which say all that")
        judge(command, "--io", "fp8", "--io: got 'fp8', expected one of fp32, bf16, fp16")
        judge(command, "--expect", "nothing", "--expect: got 'nothing', expected one of forward, all")
        for value in ("0", "-1", "1001", "x", "", "1.5"):
            judge(command, "--repeats", value, f"--repeats: got '{value}', expected an integer from 1 to 1000")
        for value in ("-1", "x", "18446744073709551616"):
            judge(command, "--seed", value, f"--seed: got '{value}', expected an integer from 0 to")
    for value in ("0", "101", "x"):
        judge("gradcheck", "--directions", value, f"--directions: got '{value}', expected an integer from 1 to 100")
    judge("gradcheck", "--only", "grad.qq", "grad.qq")
    judge("shrink", "--calls", "0", "--calls: got '0', expected an integer from 1 to 1000000")
    judge("shrink", "--tensor", "", "--tensor: got ''")
    judge("shrink", "--tensor", "grad.kk", "--tensor: got 'grad.kk', the nearest known is 'grad.k'")
    judge("shrink", "--tensor", "stage.logits", "--tensor: got 'stage.logits', expected one of out, grad.q, grad.k, grad.v")
    for value in ("nan", "-1", "x", ""):
        judge("identify", "--tolerance", value, f"--tolerance: got '{value}', expected a finite number of at least 0")
    for options, part in ((["--suite", "garbage"], "garbage"), (["--rounding", "garbage"], "got 'garbage'"),
                          (["--rounding", ""], "rounding"), (["--profile", "x"], "unknown profile 'x'"),
                          (["--seed", "-1"], "--seed: got '-1'"), (["--sute", "smoke"], "the nearest known is '--suite'")):
        harness.expect(2, ["power", *options], part)
    for options, part in ((["--rounding", "garbage"], "got 'garbage'"), (["--rounding", ""], "rounding"),
                          (["--al"], "the nearest known is '--all'"), (["more"], "more")):
        harness.expect(2, ["selftest", *options], part)


def ignored(harness):
    """Options that another one makes meaningless end with 2."""
    def says(arguments, option, beside):
        harness.expect(2, arguments, f"got {option} with {beside}, which ignores it, expected one of them")
    for command in COMMANDS:
        says([command, *REFERENCE, "--case", CASE, "--timeout", "5"], "--timeout", "--backend")
        says([command, "--lib", "none", "--symbol", "f", "--dtype", "float32"], "--dtype", "--lib")
    for command in ("check", "diagnose"):
        says([command, *REFERENCE, "--case", CASE, "--seed", "0"], "--seed", "--case")
        for option, value in (("--seed", "1"), ("--timeout", "60"), ("--dtype", "float64")):
            says([command, "--results", "none", option, value], option, "--results")
    for option, value in (("--timeout", "60"), ("--dtype", "float64")):
        says(["identities", "--results", "none", "--case", CASE, option, value], option, "--results")


def problems(harness):
    """Files that hold a problem: damaged ones, and two problems in place of one."""
    harness.file("bad.json", "{}")
    harness.file("text", "no problem\n")
    pair = ["--config", "c.json", "--in", "in.safetensors"]
    for command in COMMANDS[2:]:
        says = lambda code, arguments, part, command=command: harness.expect(  # noqa: E731
            code, [command, *REFERENCE, *arguments], part)
        says(2, ["--config", "c.json"], "got --config without --in, expected both")
        says(2, ["--in", "in.safetensors"], "got --in without --config, expected both")
        says(2, [*pair, "--case", CASE], "got 2 of --case, --config with --in, and --problem, expected at most one")
        says(3, ["--config", "none", "--in", "in.safetensors"], "cannot read none")
        says(3, ["--config", "c.json", "--in", "none"], "cannot read none")
        says(3, ["--config", "text", "--in", "in.safetensors"], "text")
        says(2, ["--config", "bad.json", "--in", "in.safetensors"], "heads")
        says(3, ["--config", "c.json", "--in", "c.json"], "c.json: ")
        says(3, ["--problem", "none"], "cannot read none")
        says(3, ["--problem", "text"], "text: ")
        says(3, ["--problem", "bad.json"], "bad.json: ")
        says(2, ["--problem", ""], "--problem: got ''")
    says = harness.expect
    says(2, ["shrink", *REFERENCE, "--case", CASE, "--case", CASE], "got 2 cases, expected one")
    says(2, ["identities", *REFERENCE, "--case", CASE, "--results", "text"], "expected one of them")
    says(2, ["identities", "--results", "text"], "got --results without its problem")
    says(3, ["identities", "--results", "text", "--case", CASE], "text: ")
    says(3, ["identities", "--results", "none", "--case", CASE], "cannot read none")


def places(harness):
    """Reports that cannot be written end with 3 before anything is judged; none replaces what is read."""
    run = ["check", *REFERENCE, "--case", CASE]
    for option in ("--json", "--junit", "--heat-map"):
        harness.expect(3, [*run, option, "none/x"], "cannot write none/x: No such file or directory")
        harness.expect(3, [*run, option, "c.json/x"], "cannot write c.json/x: Not a directory")
        harness.expect(3, [*run, option, "."], "cannot write .: Is a directory")
        harness.expect(2, [*run, option, ""], f"{option}: got ''")
        process = harness.start([*run, option, "none/x"])
        if process.stdout:
            harness.fail([option], f"got the report {process.stdout[:80]!r}, expected nothing to be judged")
    harness.expect(3, [*run, "--json", "/dev/full"], "cannot write /dev/full")
    harness.expect(2, [*run, "--json", "x", "--junit", "x"], "got x for two files, expected different ones")
    harness.expect(3, ["power", "--case", CASE, "--json", "none/x"], "cannot write none/x")
    harness.expect(3, ["shrink", *REFERENCE, "--case", CASE, "--out", "none/x"], "cannot write none/x.json")
    if candidates.built(harness):
        library = candidates.path(harness, "right")
        harness.expect(2, ["check", *candidates.right(harness), "--case", CASE, "--json", library], "which is also read")
