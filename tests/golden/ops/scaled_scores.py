"""Independent scaled scores: one einsum over repeated key heads, a boolean mask, gradients by autograd.

SPDX-License-Identifier: MIT

    python tests/golden/ops/scaled_scores.py

writes scaled_scores.safetensors beside this file: q, k, d_out, out, d_q, d_k of every case.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import generator, randn, save  # noqa: E402

# name: (B, H, Hkv, Sq, Sk, D, scale or None, causal, lookahead, document starts per batch row or None)
CASES = {
    "plain": (2, 3, 3, 4, 6, 5, None, False, 0, None),
    "grouped": (2, 6, 2, 5, 5, 3, -0.37, True, 0, None),
    "documents": (2, 4, 2, 7, 7, 4, None, True, 2, [[0, 3], [0, 2, 5]]),
    "encoder_documents": (1, 2, 1, 6, 6, 2, 1.5, False, 0, [[0, 4]]),
}


def visible_pairs(batch, queries, keys, causal, lookahead, starts):
    """Boolean [B, Sq, Sk]: may query i of row b read key j?"""
    i, j = torch.arange(queries)[:, None], torch.arange(keys)[None, :]
    allowed = (j <= i + lookahead) if causal else torch.ones(queries, keys, dtype=torch.bool)
    rows = []
    for b in range(batch):
        edges = torch.tensor(starts[b] if starts else [0])
        number = torch.bucketize(torch.arange(max(queries, keys)), edges, right=True)
        rows.append(allowed & (number[:queries, None] == number[None, :keys]))
    return torch.stack(rows)


def main():
    tensors = {}
    for seed, (name, spec) in enumerate(CASES.items()):
        batch, heads, kv_heads, queries, keys, dim, scale, causal, lookahead, starts = spec
        gen = generator(100 + seed)
        q = randn(gen, batch, heads, queries, dim).requires_grad_()
        k = randn(gen, batch, kv_heads, keys, dim).requires_grad_()
        d_out = randn(gen, batch, heads, queries, keys)
        repeated = k.repeat_interleave(heads // kv_heads, dim=1)
        scores = torch.einsum("bhid,bhjd->bhij", q, repeated) * (dim**-0.5 if scale is None else scale)
        hidden = ~visible_pairs(batch, queries, keys, causal, lookahead, starts)
        out = scores.masked_fill(hidden[:, None], 0.0)
        out.backward(d_out)
        for key, value in dict(q=q, k=k, d_out=d_out, out=out, d_q=q.grad, d_k=k.grad).items():
            tensors[f"{name}.{key}"] = value
    save(Path(__file__).with_suffix(".safetensors"), tensors)


if __name__ == "__main__":
    main()
