"""Softmax by torch, masked entries set to -inf, gradients by autograd.

SPDX-License-Identifier: MIT

A fixture holds finite numbers only: `masked` is 1 where the score is -inf, and `scores` is 0 there.
Run: python tests/golden/ops/softmax.py
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape, standard deviation of the scores, share of masked entries (column 0 is always free)
CASES = {
    "plain": ((3, 7), 1.0, 0.0),
    "scattered": ((2, 3, 4, 6), 1.5, 0.4),
    "causal": ((1, 2, 6, 6), 2.0, "causal"),
    "peaked": ((4, 9), 10.0, 0.2),
    "one_entry": ((2, 2, 1, 1), 1.0, 0.0),
    "vector": ((11,), 1.0, 0.3),
}


def main():
    gen, tensors = support.generator(340), {}
    for name, (shape, spread, share) in CASES.items():
        if share == "causal":
            masked = torch.ones(shape[-2:], dtype=torch.bool).triu(1).expand(shape).clone()
        else:
            masked = torch.rand(shape, generator=gen) < share
            masked[..., 0] = False
        scores = (spread * support.randn(gen, *shape)).masked_fill(masked, 0.0).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = torch.softmax(scores.masked_fill(masked, -torch.inf), dim=-1)
        out.backward(d_out)
        tensors |= {f"{name}.scores": scores, f"{name}.masked": masked.double(), f"{name}.out": out,
                    f"{name}.d_out": d_out, f"{name}.d_scores": scores.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/softmax.py")


if __name__ == "__main__":
    main()
