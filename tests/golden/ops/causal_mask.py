"""Independent causal masks: a block-diagonal boolean matrix and masked_fill, gradients by autograd.

SPDX-License-Identifier: MIT

    python tests/golden/ops/causal_mask.py

writes causal_mask.safetensors beside this file: scores, d_out, out (zero form), hidden (1 where the -infinity form
holds -infinity) and d_scores of every case; the two forms share their gradient, which is asserted here.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import generator, randn, save  # noqa: E402

# name: (B, H, Sq, Sk, causal, lengths of the documents of each batch row)
CASES = {
    "causal": (2, 3, 5, 5, True, [[5], [5]]),
    "documents": (2, 2, 7, 7, True, [[3, 4], [1, 4, 2]]),
    "encoder_documents": (1, 2, 6, 6, False, [[2, 4]]),
    "encoder": (1, 2, 3, 5, False, None),
}


def visible_pairs(batch, queries, keys, causal, lengths):
    """Boolean [B, Sq, Sk], built block by block from the lengths of the documents."""
    if lengths is None:
        return torch.ones(batch, queries, keys, dtype=torch.bool)
    blocks = [torch.block_diag(*[torch.ones(n, n) for n in row]) for row in lengths]
    visible = torch.stack(blocks).bool()
    return visible.tril() if causal else visible


def main():
    tensors = {}
    for seed, (name, (batch, heads, queries, keys, causal, lengths)) in enumerate(CASES.items()):
        gen = generator(200 + seed)
        scores = randn(gen, batch, heads, queries, keys).requires_grad_()
        d_out = randn(gen, batch, heads, queries, keys)
        hidden = ~visible_pairs(batch, queries, keys, causal, lengths)[:, None].expand_as(scores)
        out = scores.masked_fill(hidden, 0.0)
        (zero_gradient,) = torch.autograd.grad(out, scores, d_out)
        out_inf = scores.masked_fill(hidden, float("-inf"))
        (inf_gradient,) = torch.autograd.grad(out_inf, scores, d_out)
        assert torch.equal(zero_gradient, inf_gradient)
        values = dict(scores=scores, d_out=d_out, out=out, hidden=torch.isneginf(out_inf), d_scores=inf_gradient)
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    save(Path(__file__).with_suffix(".safetensors"), tensors)


if __name__ == "__main__":
    main()
