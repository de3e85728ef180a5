"""Machines that run out of disk or memory while mta-oracle runs.

SPDX-License-Identifier: MIT
"""

import resource

import tiny_safetensors as tiny

EVAL = ["eval", "--config", "c.json", "--in", "in.safetensors", "--out", "old"]


def limited(kind, amount):
    """A function that limits the process which calls it."""
    return lambda: resource.setrlimit(kind, (amount, amount))


def full_disk(harness):
    """A file that cannot grow any more: exit code 3, the old file untouched, nothing left beside it."""
    harness.file("old", "what was here before")
    harness.file("other.safetensors", tiny.dump({"t": tiny.f64([1], [1])}))
    for size in (0, 1, 1000):
        # Python ignores SIGXFSZ; the program must inherit that, or the signal ends it.
        limits = {"preexec_fn": limited(resource.RLIMIT_FSIZE, size), "restore_signals": False}
        harness.expect(3, EVAL, "cannot write old: ", **limits)
        harness.expect(3, EVAL[:-1] + ["new"], "cannot write new: ", **limits)
    limits["preexec_fn"] = limited(resource.RLIMIT_FSIZE, 100)
    harness.expect(3, ["compare", "in.safetensors", "other.safetensors", "--json", "old"], "cannot write old: ", **limits)


def little_memory(harness):
    """Too large for any machine: exit code 8 by estimate. Too large for what is left: exit code 8 as well."""
    def case(tokens):
        zeros = tiny.Tensor("F16", (1, 1, tokens, 1), bytes(2 * tokens))
        harness.file("in.safetensors", tiny.dump({name: zeros for name in "qkv"}))

    harness.file("c.json", '{"heads": 1, "head_dim": 1}')
    harness.file("old", "what was here before")
    case(1 << 20)
    harness.expect(8, EVAL, ("eval: the reference needs about ", " GiB", "score matrices"))
    harness.expect(8, [*EVAL, "--trace", "--dtype", "float32"], "GiB")
    case(1 << 12)
    # 128 MiB for each score matrix; threads would want address space of their own.
    limits = {"preexec_fn": limited(resource.RLIMIT_AS, 300 << 20), "environment": {"OMP_NUM_THREADS": "1"}}
    if harness.start(["--version"], **limits).returncode != 0:
        return  # a sanitizer reserves more than that
    harness.expect(8, EVAL, "out of memory, expected a smaller case", **limits)


def closed_output(harness):
    """A report that nobody receives is no success."""
    for arguments in (["--help"], ["--version"], ["compare", "in.safetensors", "in.safetensors"]):
        with open("/dev/full", "wb") as full:
            harness.expect(3, arguments, "cannot write all of the report to standard output", stdout=full)
