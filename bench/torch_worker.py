"""Attention in PyTorch as a process that is told what to do, for compare_pytorch.py: one shape, timings on request.

SPDX-License-Identifier: MIT

Usage: torch_worker.py WAY B H HKV S D CQ CK MIX_GROUP THREADS, where WAY is eager or compiled (multi-token attention) or
standard (scaled_dot_product_attention, causal). Requests as those of fast_worker.cpp: forward, both, memory.
"""

import resource
import sys
import time

import torch
from torch.nn import functional


def convolve(scores, kernel):
    """Each head's scores with its own kernel: earlier queries, keys on both sides."""
    heads, cq, ck = kernel.shape
    left = (ck - 1) // 2
    padded = functional.pad(scores, (left, ck - 1 - left, cq - 1, 0))
    return functional.conv2d(padded, kernel[:, None], groups=heads)


def mix(scores, weight):
    """Heads of a group combined; `weight` (groups, out, in)."""
    groups, size, _ = weight.shape
    return torch.einsum("goc,bgcij->bgoij", weight, scores.unflatten(1, (groups, size))).flatten(1, 2)


def multi_token_attention(q, k, v, params):
    """arXiv:2504.00927, Eqs. 5 to 7, on whole score matrices."""
    size = q.shape[2]
    hidden = torch.ones(size, size, dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(hidden, 0)
    for side, value in (("pre", None), ("post", 0)):
        if side == "post":
            scores = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
        if side + ".kernel" in params:
            scores = convolve(scores, params[side + ".kernel"])
            scores = scores if value is None else scores.masked_fill(hidden, value)
        if side + ".mix" in params:
            scores = mix(scores, params[side + ".mix"])
    return scores @ v


def standard_attention(q, k, v, _):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Work:
    """Inputs and parameters of one shape, and a way to attend."""

    def __init__(self, way, b, h, hkv, s, d, cq, ck, group):
        torch.manual_seed(1)
        self.q, self.d_out = torch.randn(b, h, s, d), torch.randn(b, h, s, d)
        k, v = torch.randn(b, hkv, s, d), torch.randn(b, hkv, s, d)
        self.k, self.v = k.repeat_interleave(h // hkv, 1), v.repeat_interleave(h // hkv, 1)
        self.params = {}
        for side in ("pre", "post"):
            if cq:
                self.params[side + ".kernel"] = 0.3 * torch.randn(h, cq, ck)
            if group:
                self.params[side + ".mix"] = 0.3 * torch.randn(h // group, group, group)
        self.attend = standard_attention if way == "standard" else multi_token_attention
        if way == "compiled":
            self.attend = torch.compile(self.attend)

    def run(self, backward):
        leaves = [self.q, self.k, self.v, *self.params.values()]
        for leaf in leaves:
            leaf.requires_grad_(backward)
            leaf.grad = None
        start = time.perf_counter()
        out = self.attend(self.q, self.k, self.v, self.params)
        if backward:
            out.backward(self.d_out)
        return time.perf_counter() - start


def serve(answer):
    """Answers requests from standard input, `memory` (the most resident so far, in MiB) by itself."""
    for line in sys.stdin:
        request = line.strip()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(memory if request == "memory" else answer(request), flush=True)


def main():
    way, *numbers = sys.argv[1:]
    *shape, threads = map(int, numbers)
    torch.set_num_threads(threads)
    work = Work(way, *shape)
    serve(lambda request: work.run(request == "both"))


if __name__ == "__main__":
    main()
