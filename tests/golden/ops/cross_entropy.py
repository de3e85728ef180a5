"""Cross-entropy by torch.nn.functional.cross_entropy, weighted afterwards, gradient by autograd.

SPDX-License-Identifier: MIT

Run: python tests/golden/ops/cross_entropy.py
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: (B, S, V), kind of mask, denominator_eps, factor of the logits
CASES = {
    "plain": ((2, 4, 5), "ones", 1e-6, 1.0),
    "masked": ((2, 6, 7), "binary", 1e-6, 2.0),
    "weighted": ((3, 3, 4), "real", 0.25, 1.0),
    "exact_mean": ((1, 5, 9), "binary", 0.0, 3.0),
    "large_logits": ((1, 4, 6), "ones", 1e-6, 30.0),
    "one_token": ((1, 1, 3), "ones", 1e-6, 1.0),
}


def weights(gen, kind, shape):
    if kind == "ones":
        return torch.ones(shape)
    drawn = torch.rand(shape, generator=gen)
    if kind == "real":
        return drawn * 3
    binary = (drawn < 0.6).double()
    binary[0, 0], binary[0, 1] = 1, 0  # at least one of each
    return binary


def main():
    gen, tensors = support.generator(340), {}
    for name, (shape, kind, eps, factor) in CASES.items():
        logits = (support.randn(gen, *shape) * factor).requires_grad_()
        targets = torch.randint(shape[2], shape[:2], generator=gen)
        mask = weights(gen, kind, shape[:2])
        targets[mask == 0] = -100
        d_loss = support.randn(gen, 1)
        token_losses = F.cross_entropy(logits.movedim(2, 1), targets, reduction="none", ignore_index=-100)
        loss = (token_losses * mask).sum() / (mask.sum() + eps)
        loss.backward(d_loss[0])
        tensors |= {f"{name}.logits": logits, f"{name}.targets": targets, f"{name}.mask": mask,
                    f"{name}.eps": torch.tensor([eps]), f"{name}.d_loss": d_loss, f"{name}.loss": loss[None],
                    f"{name}.token_losses": token_losses, f"{name}.d_logits": logits.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/cross_entropy.py")


if __name__ == "__main__":
    main()
