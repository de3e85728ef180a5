"""Independent dropout: Philox4x32-10 in Python integers, the selection in PyTorch, gradients by autograd.

SPDX-License-Identifier: MIT

    python tests/golden/ops/dropout.py

writes dropout.safetensors beside this file: x, d_out, out, d_x and the drawn 32-bit words of every case. The
generator is checked here against the known answers published with Random123 before anything is written.
"""

import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import generator, randn, save  # noqa: E402

WORD = 1 << 32

# name: (B, H, Sq, Sk, p, seed, step, layer)
CASES = {
    "plain": (2, 3, 4, 6, 0.3, 1234, 7, 2),
    "high_words": (1, 2, 3, 9, 0.5, (5 << 32) + 6, (3 << 32) + 1, (9 << 32) + 4),
    "nearly_all": (2, 1, 3, 5, 0.9, 2**64 - 1, 0, 0),
}


def philox(counter, key):
    """Four 32-bit words; the counter is a list of four words, the key of two."""
    a, b, c, d = counter
    for turn in range(10):
        key0 = (key[0] + turn * 0x9E3779B9) % WORD
        key1 = (key[1] + turn * 0xBB67AE85) % WORD
        high0, low0 = divmod(0xD2511F53 * a, WORD)
        high1, low1 = divmod(0xCD9E8D57 * c, WORD)
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
    return [a, b, c, d]


def check_known_answers():
    """The kat_vectors of Random123 for philox4x32 with ten rounds."""
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([WORD - 1] * 4, [WORD - 1] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert philox(pi, [0xA4093822, 0x299F31D0]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def words(shape, seed, step, layer):
    """The word that decides each element of a tensor [B, H, Sq, Sk], as a float64 tensor (exact)."""
    key = philox([step % WORD, step // WORD, layer % WORD, layer // WORD], [seed % WORD, seed // WORD])[:2]
    batch, heads, queries, keys = (range(n) for n in shape)
    drawn = [[[[philox([j // 4, i, h, b], key)[j % 4] for j in keys] for i in queries] for h in heads] for b in batch]
    return torch.tensor(drawn)


def main():
    check_known_answers()
    tensors = {}
    for index, (name, (*shape, p, seed, step, layer)) in enumerate(CASES.items()):
        gen = generator(400 + index)
        x = randn(gen, *shape).requires_grad_()
        d_out = randn(gen, *shape)
        drawn = words(shape, seed, step, layer)
        dropped = drawn < math.floor(p * WORD)
        assert 0 < dropped.sum() < dropped.numel()
        out = torch.where(dropped, torch.zeros(()), x * (1 / (1 - p)))
        out.backward(d_out)
        values = dict(x=x, d_out=d_out, words=drawn, out=out, d_x=x.grad)
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    save(Path(__file__).with_suffix(".safetensors"), tensors)


if __name__ == "__main__":
    main()
