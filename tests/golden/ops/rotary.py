"""Rotary positions as products of complex numbers with torch.polar, gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:2104.09864, Eq. 34; frequencies scaled as Llama 3.1's published code does it, with three cases by
wavelength instead of one clamp. Run: python tests/golden/ops/rotary.py
"""

import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: (B, H, S, D), layout, theta, rotated elements, (factor, low, high, original context), first position
CASES = {
    "interleaved": ((2, 3, 5, 8), "interleaved", 1e4, 8, None, 0),
    "half_split": ((2, 2, 4, 6), "half_split", 1e5, 6, None, 7),
    "partial": ((1, 2, 6, 10), "interleaved", 5e2, 4, None, 3),
    "partial_half_split": ((1, 2, 6, 16), "half_split", 1e4, 4, None, 100),
    "scaled": ((1, 2, 5, 16), "interleaved", 5e5, 16, (8.0, 1.0, 4.0, 8192.0), 4000),
    "scaled_partial": ((2, 1, 4, 14), "half_split", 1e4, 12, (32.0, 1.5, 3.0, 600.0), 50),
    "positions": ((3, 2, 7, 4), "half_split", 1e4, 4, None, None),
}
POSITIONS = [[0, 1, 2, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6], [9, 4, 4, 250, 0, 31, 8]]


def frequencies(theta, rotated, scaling):
    w = torch.exp(-math.log(theta) * torch.arange(0, rotated, 2) / rotated)
    if scaling is None:
        return w
    factor, low, high, context = scaling
    scaled = []
    for one in w.tolist():
        wavelength = 2 * math.pi / one
        if wavelength < context / high:
            scaled.append(one)
        elif wavelength > context / low:
            scaled.append(one / factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            scaled.append((1 - smooth) * one / factor + smooth * one)
    return torch.tensor(scaled)


def rotate(x, layout, w, positions):
    """x as complex numbers of shape (B, H, S, r/2), times exp(i angle)."""
    rotated = 2 * len(w)
    turning, rest = x[..., :rotated], x[..., rotated:]
    if layout == "interleaved":
        z = torch.view_as_complex(turning.unflatten(-1, (-1, 2)).contiguous())
    else:
        z = torch.complex(*turning.chunk(2, dim=-1))
    angle = positions[:, None, :, None] * w
    z = z * torch.polar(torch.ones_like(angle), angle)
    turned = torch.view_as_real(z).flatten(-2) if layout == "interleaved" else torch.cat([z.real, z.imag], -1)
    return torch.cat([turned, rest], -1)


def main():
    gen, tensors = support.generator(310), {}
    for name, (shape, layout, theta, rotated, scaling, first) in CASES.items():
        w = frequencies(theta, rotated, scaling)
        positions = torch.arange(shape[2])[None] + first if first is not None else torch.tensor(POSITIONS)
        x = support.randn(gen, *shape).requires_grad_()
        d_out = support.randn(gen, *shape)
        out = rotate(x, layout, w, positions.double())
        out.backward(d_out)
        tensors |= {f"{name}.frequencies": w, f"{name}.x": x, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_x": x.grad}
    tensors["positions.positions"] = torch.tensor(POSITIONS)
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/rotary.py")


if __name__ == "__main__":
    main()
