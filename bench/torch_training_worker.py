"""Training steps of a decoder in PyTorch, as a process that is told what to do, for compare_training.py.

SPDX-License-Identifier: MIT

Usage: torch_training_worker.py WAY BATCH LENGTH ANSWER WIDTH LAYERS HEADS HIDDEN CQ CK THREADS, where WAY is eager or compiled;
CQ CK 0 0: standard attention, fused. The loss counts the last ANSWER tokens of every row. Requests: step (seconds of one
update: forward, backward, clipping, AdamW), loss, memory (the most resident memory so far, in MiB).
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional

from torch_worker import multi_token_attention, serve, standard_attention

VOCABULARY = 32


def rotary_table(length, width):
    angles = torch.arange(length)[:, None] * 1e5 ** (-torch.arange(0, width, 2) / width)
    return torch.cos(angles), torch.sin(angles)


def turn(x, table):
    """Rotary positions on interleaved pairs of x (B, H, S, D)."""
    cosine, sine = table
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack((first * cosine - second * sine, first * sine + second * cosine), dim=-1).flatten(-2)


class Block(nn.Module):
    def __init__(self, width, heads, hidden, kernel):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.w1, self.w3 = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.kernels = nn.ParameterDict()
        if kernel[0]:
            identity = torch.zeros(heads, *kernel)
            identity[:, -1, (kernel[1] - 1) // 2] = 1
            self.kernels["pre_kernel"] = nn.Parameter(identity)

    def forward(self, x, table):
        n = self.norms[0](x)
        q, k, v = (m(n).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        attend = multi_token_attention if self.kernels else standard_attention
        a = attend(turn(q, table), turn(k, table), v, {n.replace("_", "."): t for n, t in self.kernels.items()})
        x = x + self.o(a.transpose(1, 2).flatten(2))
        u = self.norms[1](x)
        return x + self.w2(functional.silu(self.w1(u)) * self.w3(u))


class Decoder(nn.Module):
    def __init__(self, length, width, layers, heads, hidden, kernel):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, width)
        nn.init.trunc_normal_(self.table.weight, std=width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, kernel) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.turns = rotary_table(length, width // heads)

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, self.turns)
        return self.norm(x) @ self.table.weight.T


class Work:
    def __init__(self, way, batch, length, answer, width, layers, heads, hidden, cq, ck):
        torch.manual_seed(1)
        self.model = Decoder(length, width, layers, heads, hidden, (cq, ck))
        self.run = torch.compile(self.model) if way == "compiled" else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0, fused=True)
        self.tokens = torch.randint(VOCABULARY, (batch, length))
        self.answer = answer
        self.loss = 0.0

    def step(self):
        start = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.run(self.tokens)[:, -self.answer :]
        targets = self.tokens[:, -self.answer :]  # any will do
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.loss = loss.item()
        return time.perf_counter() - start


def main():
    way, *numbers = sys.argv[1:]
    *shape, threads = map(int, numbers)
    torch.set_num_threads(threads)
    work = Work(way, *shape)
    serve(lambda request: work.step() if request == "step" else work.loss)


if __name__ == "__main__":
    main()
