"""The compiled candidates that command-line tests judge, and the options that name them.

SPDX-License-Identifier: MIT
"""

from pathlib import Path

CASE = "paper-toy/B1_H2_S5_D4_cq2_ck3"
# The commands that take a candidate.
COMMANDS = ("check", "diagnose", "identities", "identify", "shrink", "gradcheck")
REFERENCE = ("--backend", "reference")


def path(harness, name):
    """Where the candidate of this name is: CMake puts libraries beside the program's folder."""
    return str(Path(harness.program).resolve().parents[1] / "lib" / f"candidate-{name}.so")


def built(harness):
    """Whether the candidates are there; a failure says so once."""
    if Path(path(harness, "hostile")).is_file():
        return True
    harness.fail(["candidates"], f"got no {path(harness, 'hostile')}, expected it: build the target mta_candidates")
    return False


def right(harness, name="right"):
    """Options that name a complete candidate, right or with one bug."""
    return ["--lib", path(harness, name), "--symbol", "my_mta_forward", "--backward-symbol", "my_mta_backward"]


def hostile(harness, symbol):
    """Options that name one function of the hostile candidate."""
    return ["--lib", path(harness, "hostile"), "--symbol", symbol]
