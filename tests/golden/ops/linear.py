"""A linear map by torch's own linear (a matrix product), gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:1706.03762, Secs. 3.2.2 and 3.3. Run: python tests/golden/ops/linear.py
"""

import sys
from pathlib import Path

import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: leading extents of x, inputs, outputs, with bias
CASES = {
    "bias": ((2, 4), 5, 3, True),
    "no_bias": ((2, 4), 5, 3, False),
    "square": ((1, 6), 4, 4, True),
    "widening": ((2, 3), 2, 11, True),
    "long_sums": ((1, 3), 200, 2, False),
    "one_to_one": ((3, 2), 1, 1, True),
}


def main():
    gen, tensors = support.generator(540), {}
    for name, (leading, inputs, outputs, has_bias) in CASES.items():
        x = support.randn(gen, *leading, inputs).requires_grad_()
        weight = support.randn(gen, outputs, inputs).requires_grad_()
        bias = support.randn(gen, outputs).requires_grad_() if has_bias else None
        d_out = support.randn(gen, *leading, outputs)
        out = F.linear(x, weight, bias)
        out.backward(d_out)
        tensors |= {f"{name}.x": x, f"{name}.weight": weight, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_x": x.grad, f"{name}.d_weight": weight.grad}
        if has_bias:
            tensors |= {f"{name}.bias": bias, f"{name}.d_bias": bias.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/linear.py")


if __name__ == "__main__":
    main()
