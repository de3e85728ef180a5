"""GELU by torch's own gelu in both forms, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:1606.08415, Sec. 2. Run: python tests/golden/ops/gelu.py
"""

import sys
from pathlib import Path

import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape, scale of x, form
CASES = {
    "none": ((2, 3, 7), 1.0, "none"),
    "none_wide": ((2, 4, 9), 4.0, "none"),
    "tanh": ((2, 3, 7), 1.0, "tanh"),
    "tanh_wide": ((2, 4, 9), 4.0, "tanh"),
}


def main():
    gen, tensors = support.generator(560), {}
    for name, (shape, scale, form) in CASES.items():
        x = (scale * support.randn(gen, *shape)).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = F.gelu(x, approximate=form)
        out.backward(d_out)
        tensors |= {f"{name}.x": x, f"{name}.out": out, f"{name}.d_out": d_out, f"{name}.d_x": x.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/gelu.py")


if __name__ == "__main__":
    main()
