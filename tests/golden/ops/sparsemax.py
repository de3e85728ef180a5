"""Sparsemax by bisection of its threshold, gradients by autograd through the threshold's closed form.

SPDX-License-Identifier: MIT

Source: arXiv:1602.02068. No sorting here: sum(max(z - t, 0)) falls in t, so its root tau is bracketed by max(z) - 1 and
max(z); the support is {z > tau}. A fixture holds finite numbers only: `masked` is 1 where the score is -inf, and
`scores` is 0 there. Run: python tests/golden/ops/sparsemax.py
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape, standard deviation of the scores, share of masked entries (column 0 is always free)
CASES = {
    "plain": ((3, 7), 0.5, 0.0),
    "scattered": ((2, 3, 4, 6), 0.7, 0.4),
    "causal": ((1, 2, 6, 6), 0.4, "causal"),
    "peaked": ((4, 9), 10.0, 0.2),
    "full_support": ((2, 5), 0.02, 0.0),
    "one_entry": ((2, 2, 1, 1), 1.0, 0.0),
    "vector": ((11,), 0.3, 0.3),
}


def support_of(z):
    """Boolean support of every row, by 80 halvings of the bracket of tau."""
    hi = z.max(dim=-1, keepdim=True).values
    lo = hi - 1
    for _ in range(80):
        mid = (lo + hi) / 2
        above = (z - mid).clamp(min=0).sum(-1, keepdim=True) >= 1
        lo, hi = torch.where(above, mid, lo), torch.where(above, hi, mid)
    inside = z > lo
    assert ((z - lo).abs() > 1e-6).all(), "a score stands on the threshold: choose another seed"
    return inside


def sparsemax(z):
    with torch.no_grad():
        inside = support_of(z)
    chosen = torch.where(inside, z, 0.0)
    tau = (chosen.sum(-1, keepdim=True) - 1) / inside.sum(-1, keepdim=True)
    return torch.where(inside, z - tau, 0.0)


def main():
    gen, tensors = support.generator(350), {}
    for name, (shape, spread, share) in CASES.items():
        if share == "causal":
            masked = torch.ones(shape[-2:], dtype=torch.bool).triu(1).expand(shape).clone()
        else:
            masked = torch.rand(shape, generator=gen) < share
            masked[..., 0] = False
        scores = (spread * support.randn(gen, *shape)).masked_fill(masked, 0.0).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = sparsemax(scores.masked_fill(masked, -1e4))
        out.backward(d_out)
        tensors |= {f"{name}.scores": scores, f"{name}.masked": masked.double(), f"{name}.out": out,
                    f"{name}.d_out": d_out, f"{name}.d_scores": scores.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/sparsemax.py")


if __name__ == "__main__":
    main()
