"""Independent weighted values: one matmul with repeated value heads and masked weights, gradients by autograd.

SPDX-License-Identifier: MIT

    python tests/golden/ops/weighted_values.py

writes weighted_values.safetensors beside this file: weights, v, d_out, out, d_weights, d_v of every case. The weights
are random everywhere, also at hidden keys: an implementation that reads them there is caught.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import generator, randn, save  # noqa: E402

# name: (B, H, Hkv, Sq, Sk, Dv, causal, lengths of the documents of each batch row or None)
CASES = {
    "plain": (2, 3, 3, 4, 6, 5, False, None),
    "grouped": (2, 6, 2, 5, 5, 3, True, [[5], [5]]),
    "documents": (2, 4, 2, 7, 7, 4, True, [[3, 4], [2, 3, 2]]),
    "encoder_documents": (1, 2, 1, 6, 6, 7, False, [[4, 2]]),
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
    for seed, (name, spec) in enumerate(CASES.items()):
        batch, heads, kv_heads, queries, keys, dim, causal, lengths = spec
        gen = generator(300 + seed)
        weights = randn(gen, batch, heads, queries, keys).requires_grad_()
        v = randn(gen, batch, kv_heads, keys, dim).requires_grad_()
        d_out = randn(gen, batch, heads, queries, dim)
        visible = visible_pairs(batch, queries, keys, causal, lengths)[:, None]
        kept = torch.where(visible, weights, torch.zeros(()))
        out = kept @ v.repeat_interleave(heads // kv_heads, dim=1)
        out.backward(d_out)
        values = dict(weights=weights, v=v, d_out=d_out, out=out, d_weights=weights.grad, d_v=v.grad)
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    save(Path(__file__).with_suffix(".safetensors"), tensors)


if __name__ == "__main__":
    main()
