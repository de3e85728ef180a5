"""Head mixing as a grouped 1 x 1 convolution over the heads, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:2504.00927, Sec. 3.2, Eq. 7. Run: python tests/golden/ops/head_mix.py
"""

import sys
from pathlib import Path

import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: B, groups, heads per group, Sq, Sk
CASES = {
    "one_group": (2, 1, 3, 4, 4),
    "two_groups": (1, 2, 2, 3, 5),
    "single_heads": (2, 3, 1, 2, 3),
    "paper_group": (1, 1, 16, 3, 3),
}


def main():
    gen, tensors = support.generator(320), {}
    for name, (batch, groups, heads, queries, keys) in CASES.items():
        scores = support.randn(gen, batch, groups * heads, queries, keys).requires_grad_()
        mix = support.randn(gen, groups, heads, heads).requires_grad_()
        d_out = support.randn(gen, *scores.shape)
        out = F.conv2d(scores, mix.reshape(groups * heads, heads, 1, 1), groups=groups)
        out.backward(d_out)
        tensors |= {f"{name}.scores": scores, f"{name}.mix": mix, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_scores": scores.grad, f"{name}.d_mix": mix.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/head_mix.py")


if __name__ == "__main__":
    main()
