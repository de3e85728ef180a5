"""Global-norm clipping by torch.nn.utils.clip_grad_norm_.

SPDX-License-Identifier: MIT

Run: python tests/golden/optim/clip_gradients.py
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: factor of the gradients, max_norm
CASES = {"clipped": (1.0, 1.0), "not_clipped": (0.01, 1.0), "tiny": (1e-7, 1e-7), "huge": (1e12, 2.5)}


def main():
    gen, tensors = support.generator(610), {}
    for name, (factor, max_norm) in CASES.items():
        parameters = [torch.zeros(5, 7, requires_grad=True), torch.zeros(11, requires_grad=True)]
        for parameter in parameters:
            parameter.grad = support.randn(gen, *parameter.shape) * factor
        before = [parameter.grad.clone() for parameter in parameters]
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        tensors |= {f"{name}.a": before[0], f"{name}.b": before[1], f"{name}.max_norm": [max_norm],
                    f"{name}.norm": norm[None], f"{name}.clipped_a": parameters[0].grad,
                    f"{name}.clipped_b": parameters[1].grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/optim/clip_gradients.py")


if __name__ == "__main__":
    main()
