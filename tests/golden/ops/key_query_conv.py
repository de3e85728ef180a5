"""Independent key-query convolution: padded grouped conv2d, documents cut into blocks, gradients by autograd.

SPDX-License-Identifier: MIT

    python tests/golden/ops/key_query_conv.py

writes key_query_conv.safetensors beside this file: scores, kernel, d_out, out, d_scores, d_kernel of every case.
Equation 4 is computed row by row: for the output row of query i, every score of a later key becomes 0 first.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import generator, randn, save  # noqa: E402

# name: (B, H, Sq, Sk, Cq, Ck, key padding, exact, lengths of the documents of each batch row or None)
CASES = {
    "both": (2, 3, 5, 7, 3, 5, "both", False, None),
    "both_even_queries": (1, 2, 6, 6, 2, 3, "both", False, None),
    "left_even": (2, 2, 5, 5, 3, 4, "left", False, None),
    "left_odd": (1, 2, 6, 4, 2, 3, "left", False, None),
    "right_even": (1, 3, 5, 6, 2, 4, "right", False, None),
    "right_odd": (1, 2, 5, 5, 4, 3, "right", False, None),
    "exact_both": (2, 2, 6, 6, 3, 5, "both", True, None),
    "exact_left": (1, 2, 6, 6, 3, 4, "left", True, None),
    "exact_right": (1, 2, 6, 6, 2, 4, "right", True, None),
    "documents": (2, 2, 7, 7, 3, 5, "both", False, [[3, 1, 3], [5, 2]]),
    "documents_left": (2, 1, 7, 7, 2, 4, "left", False, [[2, 5], [2, 5]]),
    "documents_exact": (2, 2, 7, 7, 3, 3, "both", True, [[3, 1, 3], [5, 2]]),
    "longer_than_sequence": (1, 2, 3, 3, 5, 7, "both", False, None),
    "one_token": (1, 2, 1, 1, 3, 5, "both", False, None),
}


def convolve(scores, kernel, padding):
    """scores [1, H, Sq, Sk], kernel [H, Cq, Ck]; zeros above, and on the sides that the padding names."""
    extent = kernel.shape[2]
    before = {"both": (extent - 1) // 2, "left": extent - 1, "right": 0}[padding]
    padded = F.pad(scores, (before, extent - 1 - before, kernel.shape[1] - 1, 0))
    return F.conv2d(padded, kernel[:, None], groups=kernel.shape[0])


def convolve_block(block, kernel, padding, exact):
    """One document."""
    if not exact:
        return convolve(block, kernel, padding)
    keys = torch.arange(block.shape[3])
    rows = [convolve(block.masked_fill(keys > i, 0.0), kernel, padding)[:, :, i] for i in range(block.shape[2])]
    return torch.stack(rows, dim=2)


def convolve_row(scores, kernel, padding, exact, lengths):
    """One batch row; outside the documents' square blocks the output is 0."""
    if lengths is None:
        return convolve_block(scores, kernel, padding, exact)
    bands, start = [], 0
    for length in lengths:
        inside = slice(start, start + length)
        out = convolve_block(scores[:, :, inside, inside], kernel, padding, exact)
        bands.append(F.pad(out, (start, scores.shape[3] - start - length)))
        start += length
    return torch.cat(bands, dim=2)


def main():
    tensors = {}
    for seed, (name, spec) in enumerate(CASES.items()):
        batch, heads, queries, keys, query_extent, key_extent, padding, exact, lengths = spec
        gen = generator(500 + seed)
        scores = randn(gen, batch, heads, queries, keys).requires_grad_()
        kernel = randn(gen, heads, query_extent, key_extent).requires_grad_()
        d_out = randn(gen, batch, heads, queries, keys)
        rows = [
            convolve_row(scores[b : b + 1], kernel, padding, exact, lengths and lengths[b]) for b in range(batch)
        ]
        out = torch.cat(rows)
        out.backward(d_out)
        values = dict(scores=scores, kernel=kernel, d_out=d_out, out=out, d_scores=scores.grad, d_kernel=kernel.grad)
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    save(Path(__file__).with_suffix(".safetensors"), tensors)


if __name__ == "__main__":
    main()
