"""The sigmoid gate as x times exp(logsigmoid(linear(x))), gradients by autograd.

SPDX-License-Identifier: MIT

The logarithm keeps autograd's slope exact where the gate is far open; torch's own sigmoid multiplies by 1 - s.
Source: arXiv:2504.00927, Sec. 3.3. Run: python tests/golden/ops/gate.py
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape of x (D last), number of gates, added to the bias
CASES = {
    "scalar": ((2, 3, 4, 5), 1, 0.0),
    "scalar_wide": ((1, 2, 3, 16), 1, 0.0),
    "scalar_open": ((1, 2, 3, 4), 1, 12.0),
    "vector": ((2, 2, 3, 5), 5, 0.0),
    "vector_wide": ((1, 2, 3, 9), 9, 0.0),
    "vector_shut": ((1, 2, 3, 4), 4, -12.0),
    "one_feature": ((2, 1, 3, 1), 1, 0.0),
}


def main():
    gen, tensors = support.generator(520), {}
    for name, (shape, gates, bias_shift) in CASES.items():
        x = support.randn(gen, *shape).requires_grad_()
        weight = support.randn(gen, gates, shape[-1]).requires_grad_()
        bias = (support.randn(gen, gates) + bias_shift).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = x * torch.exp(F.logsigmoid(F.linear(x, weight, bias)))
        out.backward(d_out)
        tensors |= {f"{name}.x": x, f"{name}.weight": weight, f"{name}.bias": bias, f"{name}.out": out,
                    f"{name}.d_out": d_out, f"{name}.d_x": x.grad, f"{name}.d_weight": weight.grad,
                    f"{name}.d_bias": bias.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/gate.py")


if __name__ == "__main__":
    main()
