"""SwiGLU as torch's silu times the second input, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:2002.05202, Sec. 2. Run: python tests/golden/ops/swiglu.py
"""

import sys
from pathlib import Path

import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: shape, scale of the gate
CASES = {
    "plain": ((2, 3, 7), 1.0),
    "one_token": ((1, 1, 5), 1.0),
    "wide_gate": ((2, 4, 9), 12.0),
}


def main():
    gen, tensors = support.generator(550), {}
    for name, (shape, scale) in CASES.items():
        gate = (scale * support.randn(gen, *shape)).requires_grad_()
        up = support.randn(gen, *shape).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = F.silu(gate) * up
        out.backward(d_out)
        tensors |= {f"{name}.gate": gate, f"{name}.up": up, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_gate": gate.grad, f"{name}.d_up": up.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/swiglu.py")


if __name__ == "__main__":
    main()
