"""Score convolution as torch's grouped conv3d over (head, query, key), gradients by autograd.

SPDX-License-Identifier: MIT

Source: arXiv:2504.00927, Sec. 3.3. Documents are cut out and convolved alone; the rule `not_after_query`
(Eq. 4) is one convolution per query, of scores whose later keys are replaced by zeros.
Run: python tests/golden/ops/score_conv3d.py
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: ((B, groups, heads per group, Sq, Sk), (Cq, Ck), key padding, not_after_query, document starts per row)
CASES = {
    "both": ((2, 2, 2, 5, 4), (2, 3), "both", False, None),
    "left_even": ((1, 1, 3, 4, 5), (3, 4), "left", False, None),
    "right_even": ((1, 3, 1, 4, 4), (2, 2), "right", False, None),
    "exact": ((2, 1, 2, 6, 6), (3, 5), "both", True, None),
    "exact_right": ((1, 2, 2, 5, 5), (2, 3), "right", True, None),
    "documents": ((2, 1, 2, 7, 7), (3, 3), "both", False, [[0, 3], [0, 1, 4]]),
    "documents_exact": ((1, 2, 2, 6, 6), (2, 5), "both", True, [[0, 2]]),
    "one_token": ((2, 1, 2, 1, 1), (3, 3), "both", False, None),
    "longer_than_sequence": ((1, 1, 2, 2, 2), (4, 7), "both", False, None),
    "one_tap": ((1, 1, 3, 3, 3), (1, 1), "both", False, None),
}


def grouped_conv3d(scores, kernel, padding):
    """[B, H, Sq, Sk] with [H, Ch, Cq, Ck]: each group's heads are the depth axis of one input channel."""
    batch, heads, queries, keys = scores.shape
    _, depth, c_q, c_k = kernel.shape
    left = {"both": (c_k - 1) // 2, "left": c_k - 1, "right": 0}[padding]
    volume = scores.reshape(batch, heads // depth, depth, queries, keys)
    volume = F.pad(volume, (left, c_k - 1 - left, c_q - 1, 0))
    return F.conv3d(volume, kernel[:, None], groups=heads // depth).squeeze(2)


def convolve(scores, kernel, padding, exact):
    """The whole matrix at once, or (exact) row i from scores without keys after i."""
    if not exact:
        return grouped_conv3d(scores, kernel, padding)
    key = torch.arange(scores.shape[3])
    rows = [grouped_conv3d(torch.where(key <= i, scores, 0.0), kernel, padding)[:, :, i]
            for i in range(scores.shape[2])]
    return torch.stack(rows, dim=2)


def convolve_documents(scores, kernel, padding, exact, starts):
    """Every document's square block alone; outputs between documents are 0."""
    out = torch.zeros_like(scores)
    for b, row in enumerate(starts):
        for lo, hi in zip(row, row[1:] + [scores.shape[2]]):
            block = (slice(b, b + 1), slice(None), slice(lo, hi), slice(lo, hi))
            out[block] = convolve(scores[block], kernel, padding, exact)
    return out


def main():
    gen, tensors = support.generator(330), {}
    for name, ((batch, groups, heads, queries, keys), extents, padding, exact, starts) in CASES.items():
        scores = support.randn(gen, batch, groups * heads, queries, keys).requires_grad_()
        kernel = support.randn(gen, groups * heads, heads, *extents).requires_grad_()
        d_out = support.randn(gen, *scores.shape)
        if starts is None:
            out = convolve(scores, kernel, padding, exact)
        else:
            out = convolve_documents(scores, kernel, padding, exact, starts)
        out.backward(d_out)
        tensors |= {f"{name}.scores": scores, f"{name}.kernel": kernel, f"{name}.out": out, f"{name}.d_out": d_out,
                    f"{name}.d_scores": scores.grad, f"{name}.d_kernel": kernel.grad}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/ops/score_conv3d.py")


if __name__ == "__main__":
    main()
