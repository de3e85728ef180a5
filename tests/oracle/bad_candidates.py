"""Libraries that are none, and candidates that break every rule: one sentence and the exit code of what they did.

SPDX-License-Identifier: MIT
"""

import candidates
from candidates import CASE, COMMANDS, REFERENCE

# What a function of examples/candidates/hostile.cpp does, the exit code, and what the sentence says.
DEATHS = (
    ("segfaults", 4, "segfaults crashed with SIGSEGV"),
    ("aborts", 4, "aborts crashed with SIGABRT"),
    ("exits", 4, "exits ended its process with exit status 0, expected it to return"),
    ("throws_error", 4, "throws_error threw: no such head"),
    ("returns_error", 4, "returned code 17: the device is gone, expected 0 (done) or 1 (unsupported)"),
    ("writes_past_end", 6, "writes_past_end wrote outside 'out', "),
    ("changes_input", 6, "changed its input 'k' at [0, 0, 0, 2]"),
    ("writes_nothing", 6, "elements of 'out' unwritten"),
    ("refuses", 8, "refuses refused this configuration: only 8 heads"),
)
# The same of check alone, which asks more of them.
MORE_DEATHS = (
    ("divides_by_zero", 4, "crashed with SIGFPE"),
    ("overflows_stack", 4, "crashed with SIGSEGV"),
    ("leaves_at_once", 4, "exit status 7"),
    ("throws_number", 4, "threw: something that is no std::exception"),
    ("returns_silently", 4, "returned code 2"),
    ("floods_message", 4, "returned code 2: xxx"),
    ("writes_before_start", 6, " bytes before its start"),
    ("writes_far_past_end", 6, "wrote outside 'out', 20000 bytes after its end"),
    ("reads_past_end", 6, "read outside 'k'"),
    ("forgets_last_row", 6, "left 4 of the 40 elements of 'out'"),
    ("adds_to_output", 6, "of 'out' unwritten or added to"),
    ("writes_half_a_stage", 6, "of 'stage.logits' unwritten"),
    ("borrows_input", 6, "wrote to its input 'q'"),
    ("keeps_larger", 6, "depends on what the outputs held before the call"),
    ("counts_its_calls", 6, "after 10 calls in one process the result is another one"),
)


def libraries(harness):
    """What is no library ends with 3, a name that it lacks with 2, before anything is judged."""
    if not candidates.built(harness):
        return
    library = candidates.path(harness, "right")
    harness.file("text.so", "no library\n")
    harness.file("short.so", b"\x7fELF")
    for command in COMMANDS:
        def says(code, arguments, part, command=command):
            harness.expect(code, [command, "--case", CASE, *arguments], part)

        says(2, [], "expected one")
        says(2, [*REFERENCE, "--lib", library, "--symbol", "f"], "expected one")
        says(2, ["--lib", library], "got --lib without --symbol, expected the name of its forward function")
        says(2, ["--symbol", "f"], "")
        says(2, [*REFERENCE, "--symbol", "f"], "--symbol")
        says(2, ["--lib", ""], "--lib: got ''")
        says(3, ["--lib", "none.so", "--symbol", "f"], "library 'none.so': ")
        says(3, ["--lib", "./none.so", "--symbol", "f"], "no such file, expected a shared library")
        says(3, ["--lib", "text.so", "--symbol", "f"], "library 'text.so': no ELF header, expected a shared library")
        says(2, ["--lib", library, "--symbol", "nope"], "got no symbol 'nope', expected an exported function")
        says(2, ["--lib", library, "--symbol", "my_mta_forward", "--backward-symbol", "no"], "got no symbol 'no'")
        says(8, ["--backend", "cuda"], "--backend: got 'cuda', which this program was built without")
    says = harness.expect
    says(3, ["check", "--lib", "short.so", "--symbol", "f"], "expected a shared library")
    says(3, ["check", "--lib", ".", "--symbol", "f"], "no regular file, expected a shared library")
    says(3, ["check", "--lib", "no\nlib\x1b[2J.so/x", "--symbol", "f"], "no such file")
    says(3, ["check", "--lib", harness.program, "--symbol", "main"], "library ")
    says(3, ["check", "--lib", candidates.path(harness, "hostile-load"), "--symbol", "never_called"],
         "crashed with SIGABRT (Aborted) while it was loaded")


def hostile(harness):
    """Each rule that a candidate can break, told by every command that calls it."""
    if not candidates.built(harness):
        return
    for symbol, code, part in DEATHS:
        for command in COMMANDS:
            out = ["--out", "small"] if command == "shrink" else []
            new = ("small.json", "small.in.safetensors", "small.problem.json") if out and code != 8 else ()
            process = harness.expect(code, [command, *candidates.hostile(harness, symbol), "--case", CASE, *out], part,
                                     new=new)
            if part not in (process.stderr or ""):
                harness.fail([command, symbol], f"got {process.stderr!r} on standard error, expected {part!r}")
    for symbol, code, part in MORE_DEATHS:
        harness.expect(code, ["check", *candidates.hostile(harness, symbol), "--case", CASE], part)
    for symbol in ("hangs", "hangs_deaf", "prints_forever"):
        harness.expect(4, ["check", *candidates.hostile(harness, symbol), "--case", CASE, "--timeout", "0.3"],
                       f"{symbol} did not return within 0.3 s and was stopped")
    for command in COMMANDS[1:4]:
        harness.expect(4, [command, *candidates.hostile(harness, "hangs"), "--case", CASE, "--timeout", "0.2"],
                       "did not return within 0.2 s")


def wrong_numbers(harness):
    """Numbers that are no attention, NaN, other bits every time: mismatches that say so, in files that are whole."""
    if not candidates.built(harness):
        return
    files = ["--json", "report.json", "--junit", "report.xml", "--heat-map", "map.png"]
    new = ("report.json", "report.xml", "map.png")
    harness.expect(1, ["check", *candidates.hostile(harness, "well_behaved"), "--case", CASE, *files], "first wrong stage",
                   new=new)
    harness.expect(1, ["check", *candidates.hostile(harness, "returns_nan"), "--case", CASE], "inf")
    harness.expect(1, ["check", *candidates.hostile(harness, "leaves_a_process"), "--case", CASE], "FAIL")
    harness.expect(1, ["check", *candidates.hostile(harness, "nondeterministic"), "--case", CASE],
                   ("same bits when repeated: run 2 differs from the first: out at [0, 0, 0, 1]"))
    harness.expect(4, ["check", *candidates.hostile(harness, "segfaults"), "--case", CASE, "--json", "report.json"],
                   "SIGSEGV", new=("report.json",))
    # Gradients that were never given cannot be judged.
    for command in ("identities", "gradcheck"):
        harness.expect(5, [command, *candidates.hostile(harness, "well_behaved"), "--case", CASE], "could be judged")
    harness.expect(1, ["identify", *candidates.hostile(harness, "returns_nan"), "--case", CASE], "FAIL")


def layouts(harness):
    """--misaligned and --strided: a candidate that reads any layout agrees, others break the contract or refuse."""
    if not candidates.built(harness):
        return
    both = ["--misaligned", "--strided"]
    case = ["--case", "paper-880m/B1_H4_kv2_S7_D4_cq2_ck3_g2"]
    right = candidates.right(harness)
    harness.expect(0, ["check", *right, *case, *both, "--json", "report.json"], "agrees: 1/1", new=("report.json",))
    for command in COMMANDS[2:]:
        harness.expect(0, [command, *right, *case, *both])
    for symbol, option, part in (
            ("needs_alignment", "--misaligned", "given tensors aligned to their elements only, "),
            ("ignores_strides", "--strided", "given rows further apart than they are long, ")):
        strange = candidates.hostile(harness, symbol)
        harness.expect(6, ["check", *strange, *case, option], part)
        harness.expect(1, ["check", *strange, *case], "reproduce")
    harness.expect(4, ["identify", *candidates.hostile(harness, "needs_alignment"), *case, "--misaligned"], "SIGSEGV")
    harness.expect(8, ["identify", *candidates.hostile(harness, "refuses_strides"), *case, "--strided"], "contiguous")
    for arguments in ([*REFERENCE, "--misaligned"], [*REFERENCE, "--strided"]):
        for command in COMMANDS:
            harness.expect(2, [command, *arguments], "expected them with --lib")
    harness.expect(2, ["check", *right, "--no-memory", "--strided"], "expected them with --lib and its memory contract")


def effects(harness):
    """What a wrong stage really computes is read off a library, and not off a folder."""
    if not candidates.built(harness):
        return
    case = ["--case", "paper-880m/B2_H4_kv2_S9_D8_cq2_ck3_g2"]
    for name, label, relation in (("flipped-keys", "effective taps", "(mirrored on keys)"),
                                  ("mix-transposed", "effective mix", "(transposed)"),
                                  ("no-zero-mask", "effective mask", "kept everywhere")):
        for command in ("check", "diagnose"):
            harness.expect(1, [command, *candidates.right(harness, name), *case], (f"{label} ", relation, "look for"))
    process = harness.expect(1, ["check", *candidates.right(harness, "dk-of-one-head"), *case], "FAIL")
    if "effective" in process.stdout:
        harness.fail(["dk-of-one-head"], "got effects of a backward pass, expected none")
