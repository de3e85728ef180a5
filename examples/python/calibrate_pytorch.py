"""Errors of the PyTorch implementation of torch_attention.py in units of the tolerance, over seeded cases.

SPDX-License-Identifier: MIT

    MTA_ORACLE_LIBRARY=build/python/lib/libmta_oracle.so ~/.cache/mta-venv/bin/python examples/python/calibrate_pytorch.py \
        --suite smoke --seeds 8 --rounding fp32

The environment is the one that examples/python/run.sh makes. docs/oracle/tolerances.md has the numbers.
"""

import argparse
import sys

from torch_attention import attention

import mta_oracle_torch


def errors_of(tensors, key):
    """The errors of a report's tensors, end to end (`error`) or given the candidate's own previous stage (`local`)."""
    errors = (tensor.get(key) for tensor in tensors)
    return [float(error["error"] if isinstance(error, dict) else error) for error in errors if error is not None]


def quantile(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="smoke")
    parser.add_argument("--seeds", type=int, default=8, help="how many seeds, from 1 on")
    parser.add_argument("--rounding", default="fp32")
    options = parser.parse_args(arguments)
    cases = []
    for seed in range(1, options.seeds + 1):
        report = mta_oracle_torch.check(attention, suite=options.suite, seed=seed, rounding=options.rounding,
                                        diagnose=False)
        cases += report.data["cases"]
        print(f"seed {seed} of {options.seeds}: {report.verdict}", flush=True)
    tensors = [tensor for case in cases for tensor in case["tensors"]]
    for name, key in (("end to end", "error"), ("local", "local")):
        errors = errors_of(tensors, key)
        if errors:
            print(f"{name:12}{len(errors):8} tensors " +
                  " ".join(f" {100 * q:g}%: {quantile(errors, q):.3f}" for q in (0.5, 0.9, 0.99, 0.999, 1.0)))
    alarms = sum(case["verdict"] == "mismatch" for case in cases)
    print(f"false alarms: {alarms} of {len(cases)} runs")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
