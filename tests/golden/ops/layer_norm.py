"""Layer normalisation by torch's own layer_norm, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:1607.06450, Sec. 3. Run: python tests/golden/ops/layer_norm.py
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape of x (D last), eps, scale of x, added to x
CASES = {
    "plain": ((2, 3, 4, 5), 1e-5, 1.0, 0.0),
    "wide": ((1, 2, 3, 17), 1e-5, 1.0, 0.0),
    "large_eps": ((1, 2, 3, 6), 0.5, 1.0, 0.0),
    "no_eps": ((1, 2, 3, 6), 0.0, 1.0, 0.0),
    "small_x": ((1, 2, 3, 5), 1e-5, 3e-3, 0.0),
    "shifted": ((1, 2, 3, 8), 1e-5, 1.0, 5.0),
    "two_features": ((1, 2, 3, 2), 1e-2, 1.0, 0.0),
}


def main():
    gen, tensors = support.generator(530), {}
    for name, (shape, eps, scale, shift) in CASES.items():
        x = (scale * support.randn(gen, *shape) + shift).requires_grad_()
        weight = support.randn(gen, shape[-1]).requires_grad_()
        bias = support.randn(gen, shape[-1]).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = F.layer_norm(x, shape[-1:], weight, bias, eps)
        out.backward(d_out)
        tensors |= {f"{name}.x": x, f"{name}.weight": weight, f"{name}.bias": bias, f"{name}.out": out,
                    f"{name}.d_out": d_out, f"{name}.d_x": x.grad, f"{name}.d_weight": weight.grad,
                    f"{name}.d_bias": bias.grad, f"{name}.options": torch.tensor([eps])}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/layer_norm.py")


if __name__ == "__main__":
    main()
