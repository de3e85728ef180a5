"""Embedding as the product of one-hot rows with the table, gradient by autograd.

SPDX-License-Identifier: MIT

Run: python tests/golden/ops/embedding.py
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: B, S, V, D
CASES = {"small": (2, 4, 5, 3), "wide": (2, 7, 4, 70), "repeated": (3, 11, 2, 4), "one_token": (1, 1, 6, 2)}


def main():
    gen, tensors = support.generator(330), {}
    for name, (batch, length, vocabulary, width) in CASES.items():
        tokens = torch.randint(vocabulary, (batch, length), generator=gen)
        weight = support.randn(gen, vocabulary, width).requires_grad_()
        d_out = support.randn(gen, batch, length, width)
        out = F.one_hot(tokens, vocabulary).double() @ weight
        out.backward(d_out)
        tensors |= {f"{name}.tokens": tokens, f"{name}.weight": weight, f"{name}.out": out,
                    f"{name}.d_out": d_out, f"{name}.d_weight": weight.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/embedding.py")


if __name__ == "__main__":
    main()
