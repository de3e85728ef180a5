"""RMS normalisation by torch's own rms_norm, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:1910.07467, Eq. 4, with the depth factors of arXiv:2410.05258 and arXiv:2502.05795.
Run: python tests/golden/ops/rms_norm.py
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape of x (D last), eps, factor, layer index, scale of x
CASES = {
    "one": ((2, 3, 4, 5), 1e-5, "one", 7, 1.0),
    "depth_first": ((1, 2, 3, 6), 1e-5, "depth", 0, 1.0),
    "depth_later": ((2, 2, 2, 4), 1e-5, "depth", 9, 1.0),
    "layer_first": ((1, 2, 2, 3), 1e-5, "layer", 0, 1.0),
    "layer_later": ((2, 1, 3, 7), 1e-5, "layer", 23, 1.0),
    "large_eps": ((1, 2, 3, 5), 0.5, "one", 0, 1.0),
    "no_eps": ((1, 2, 3, 5), 0.0, "one", 0, 1.0),
    "small_x": ((1, 2, 3, 5), 1e-5, "one", 0, 3e-3),
    "one_feature": ((1, 2, 3, 1), 1e-2, "one", 0, 1.0),
}


def factor_of(kind, layer_index):
    """The DIFF Transformer's 1 - lambda_init, whose 0.8 - 0.6 exp(-0.3 l) is subtracted from 1, or 1/sqrt(l + 1)."""
    return {"one": 1.0, "depth": 0.2 + 0.6 * math.exp(-0.3 * layer_index),
            "layer": math.pow(layer_index + 1, -0.5)}[kind]


def main():
    gen, tensors = support.generator(510), {}
    for name, (shape, eps, kind, layer_index, scale) in CASES.items():
        x = (scale * support.randn(gen, *shape)).requires_grad_()
        weight = support.randn(gen, shape[-1]).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = factor_of(kind, layer_index) * F.rms_norm(x, shape[-1:], weight, eps)
        out.backward(d_out)
        tensors |= {f"{name}.x": x, f"{name}.weight": weight, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_x": x.grad, f"{name}.d_weight": weight.grad,
                    f"{name}.options": torch.tensor([eps, ["one", "depth", "layer"].index(kind), layer_index])}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/rms_norm.py")


if __name__ == "__main__":
    main()
