"""Checks of mta_torch.py against itself: gradcheck, a slow second formulation, known values, identities.

SPDX-License-Identifier: MIT

Run it before trusting a golden file: `python tests/golden/self_check.py`. It prints one line per check and
exits with 1 when one fails. The slow formulation is plain Python over the paper's theta (equations 3 to 7),
which is the stored kernel flipped on both axes; it shares no code with mta_torch.py.
"""

import math
import sys

import torch

import mta_torch
from support import generator, randn

TOLERANCE = 1e-13  # measured worst: 2e-15; two float64 summation orders of at most a few hundred terms.


def random_tensors(config, batch, length, seed, d_out=True):
    """Random inputs and parameters of a configuration, nothing at its initial value."""
    gen = generator(seed)
    heads, dim = config["heads"], config["head_dim"]
    kv_heads = config.get("kv_heads", heads)
    tensors = {"q": randn(gen, batch, heads, length, dim)}
    tensors |= {x: randn(gen, batch, kv_heads, length, dim) for x in "kv"}
    for name, shape in mta_torch.parameter_shapes(config).items():
        tensors[name] = 0.5 * randn(gen, *shape)
    if d_out:
        tensors["d_out"] = randn(gen, batch, heads, length, dim)
    return tensors


def slow_conv(x, kernel, key_padding, counts):
    """sum over i', j' of theta[i', j'] x[i - i', j - j'] wherever counts(i, i - i', j - j') holds; nested lists."""
    heads, n = len(x), len(x[0])
    c_q, c_k = len(kernel[0]), len(kernel[0][0])
    left = {"both": (c_k - 1) // 2, "left": c_k - 1, "right": 0}[key_padding]
    out = [[[0.0] * n for _ in range(n)] for _ in range(heads)]
    for h in range(heads):
        for i in range(n):
            for j in range(n):
                for back in range(c_q):
                    for side in range(left - c_k + 1, left + 1):
                        row, col = i - back, j - side
                        if 0 <= row < n and 0 <= col < n and counts(i, row, col):
                            out[h][i][j] += kernel[h][c_q - 1 - back][left - side] * x[h][row][col]
    return out


def slow_mix(x, weight):
    """Every output head as a sum over the heads of its group; nested lists."""
    size, n = len(weight[0]), len(x[0])
    return [[[sum(weight[h // size][h % size][g] * x[h // size * size + g][i][j] for g in range(size))
              for j in range(n)] for i in range(n)] for h in range(len(x))]


def slow_weights(row, kind):
    """Softmax, or sparsemax by bisection of its threshold, of the allowed scores of one query."""
    if kind == "softmax":
        powers = [math.exp(s - max(row)) for s in row]
        return [p / math.fsum(powers) for p in powers]
    low, high = max(row) - 1.0, max(row)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(max(0.0, s - middle) for s in row) > 1 else (low, middle)
    return [max(0.0, s - low) for s in row]


def slow_vector(y, cfg, params):
    """Norm and gate of one head's output vector."""
    if "norm.weight" in params:
        power = sum(c * c for c in y) / len(y) + cfg["eps"]
        layer = cfg["layer_index"]
        factor = {"rms": 1, "rms_depth": 0.2 + 0.6 * math.exp(-0.3 * layer),
                  "rms_layer": 1 / math.sqrt(layer + 1)}[cfg["norm"]]
        y = [factor * w * c / math.sqrt(power) for w, c in zip(params["norm.weight"], y)]
    if "gate.weight" in params:
        z = [b + sum(w * c for w, c in zip(row, y)) for row, b in zip(params["gate.weight"], params["gate.bias"])]
        gates = [1 / (1 + math.exp(-t)) for t in z] * (len(y) if len(z) == 1 else 1)
        y = [c * s for c, s in zip(y, gates)]
    return y


def slow_document(cfg, q, k, v, params):
    """The output [H][n][D] of one document, element by element."""
    heads, n, share = len(q), len(q[0]), cfg["heads"] // cfg["kv_heads"]
    seen = (lambda i, j: True) if cfg["mask"] == "none" else (lambda i, j: j <= i)
    x = [[[cfg["scale"] * sum(a * b for a, b in zip(q[h][i], k[h // share][j])) for j in range(n)]
          for i in range(n)] for h in range(heads)]
    if "pre.kernel" in params:
        # twice: the tap's own key must not follow the tap's query; exact: it must not follow the output query.
        counts = {"twice": lambda i, row, col: col <= row, "exact": lambda i, row, col: col <= i,
                  "none": lambda i, row, col: True}[cfg["mask"]]
        x = slow_conv(x, params["pre.kernel"], cfg["pre"]["key_padding"], counts)
    if "pre.mix" in params:
        x = slow_mix(x, params["pre.mix"])
    for h in range(heads):
        for i in range(n):
            keys = [j for j in range(n) if seen(i, j)]
            weights = dict(zip(keys, slow_weights([x[h][i][j] for j in keys], cfg["normalise"])))
            x[h][i] = [weights.get(j, 0.0) for j in range(n)]
    if "post.kernel" in params:
        x = slow_conv(x, params["post.kernel"], cfg["post"]["key_padding"], lambda i, row, col: True)
        x = [[[x[h][i][j] if seen(i, j) else 0.0 for j in range(n)] for i in range(n)] for h in range(heads)]
    if "post.mix" in params:
        x = slow_mix(x, params["post.mix"])
    dims = range(len(v[0][0]))
    context = [[[sum(x[h][i][j] * v[h // share][j][d] for j in range(n)) for d in dims]
                for i in range(n)] for h in range(heads)]
    return [[slow_vector(y, cfg, params) for y in head] for head in context]


def slow_evaluate(config, tensors):
    """`out` of every document and batch row, as one tensor."""
    cfg = mta_torch.complete(config)
    params = {name: tensors[name].tolist() for name in mta_torch.parameter_shapes(config)}
    batch, _, length, _ = tensors["q"].shape
    out = torch.zeros_like(tensors["q"])
    for b, lo, hi in mta_torch.documents(config, batch, length):
        qkv = [tensors[x][b, :, lo:hi].tolist() for x in "qkv"]
        out[b, :, lo:hi] = torch.tensor(slow_document(cfg, *qkv, params), dtype=torch.float64)
    return out


def worst(got, want):
    """max|got - want| / max|want|."""
    return ((got - want).abs().max() / want.abs().max()).item()


FULL = {"heads": 4, "kv_heads": 2, "head_dim": 3, "norm": "rms", "gate": "scalar",
        "pre": {"query_kernel": 3, "key_kernel": 5, "mix_group": 2},
        "post": {"query_kernel": 2, "key_kernel": 3, "mix_group": 4}}
VARIED = {
    "twice": FULL,
    "exact": FULL | {"mask": "exact"},
    "exact left even, documents": FULL | {"mask": "exact", "document_starts": [[0, 3], [0, 1, 5]],
                                          "pre": {"query_kernel": 4, "key_kernel": 4, "key_padding": "left"}},
    "none right even": FULL | {"mask": "none", "norm": "rms_depth", "layer_index": 5, "gate": "vector",
                               "post": {"query_kernel": 2, "key_kernel": 2, "key_padding": "right"}},
    "sparsemax": FULL | {"normalise": "sparsemax", "norm": "rms_layer", "layer_index": 5},
    "plain": {"heads": 4, "head_dim": 3},
}


def check_slow(config):
    """The second formulation gives the same output."""
    tensors = random_tensors(config, 2, 7, seed=11, d_out=False)
    return worst(mta_torch.evaluate(config, tensors)["out"], slow_evaluate(config, tensors))


def check_gradients(config):
    """Autograd against central differences, every input and parameter; True or an exception."""
    tensors = random_tensors(config, 2, 7, seed=12, d_out=False)
    if config.get("normalise") == "sparsemax":
        assert mta_torch.sparsemax_margin(config, tensors) > 1e-3
    cfg, names = mta_torch.complete(config), list(tensors)

    def run(*values):
        leaves = dict(zip(names, values))
        params = {name: leaves[name] for name in mta_torch.parameter_shapes(config)}
        outs = [list(mta_torch.document_forward(cfg, *(leaves[x][b, :, lo:hi] for x in "qkv"), params).values())[-1]
                for b, lo, hi in mta_torch.documents(config, 2, 7)]
        return torch.cat([out.flatten() for out in outs])

    return torch.autograd.gradcheck(run, [t.requires_grad_() for t in tensors.values()], eps=1e-6, atol=1e-7)


def check_plain():
    """Everything off is PyTorch's own causal attention with grouped heads, gradients included."""
    config = {"heads": 4, "kv_heads": 2, "head_dim": 8}
    tensors = random_tensors(config, 2, 9, seed=13)
    got = mta_torch.evaluate(config, tensors)
    leaves = [tensors[x].clone().requires_grad_() for x in "qkv"]
    out = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=True, enable_gqa=True)
    grads = torch.autograd.grad(out, leaves, tensors["d_out"])
    return max(worst(a, b) for a, b in zip([got["out"], *(got[f"grad.{x}"] for x in "qkv")], [out, *grads]))


def check_sparsemax():
    """sparsemax(1, 0.5, -0.2) = (0.75, 0.25, 0), and (1, 2, 3) pulled back is (-0.5, 0.5, 0)."""
    z = torch.tensor([1.0, 0.5, -0.2, -math.inf], dtype=torch.float64, requires_grad=True)
    p = mta_torch.normalise(z, "sparsemax")
    (dz,) = torch.autograd.grad(p, z, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    want = torch.tensor([[0.75, 0.25, 0, 0], [-0.5, 0.5, 0, 0]], dtype=torch.float64)
    return worst(torch.stack([p.detach(), dz]), want)


def check_euler():
    """Inner products that the chain of linear stages makes equal, head by head (no reference needed)."""
    config = FULL | {"kv_heads": 4, "norm": "none", "gate": "none"}
    t = random_tensors(config, 2, 6, seed=14)
    r = mta_torch.evaluate(config, t)

    def per_head(name):
        return (r[f"grad.{name}"] * t[name]).sum((0, 2, 3)) if name in "qkv" else \
            (r[f"grad.{name}"] * t[name]).sum((1, 2))

    mixed_in = (r["grad.pre.mix"] * t["pre.mix"]).sum(1).flatten()
    mixed_out = (r["grad.post.mix"] * t["post.mix"])
    pairs = [(per_head("q"), per_head("k")), (per_head("q"), per_head("pre.kernel")), (per_head("q"), mixed_in),
             (per_head("v"), mixed_out.sum(2).flatten()), (per_head("post.kernel"), mixed_out.sum(1).flatten())]
    return max(worst(a, b) for a, b in pairs)


def main():
    """Run every check and say how it went."""
    torch.set_num_threads(1)
    numbers = {f"slow formulation, {name}": lambda c=config: check_slow(c) for name, config in VARIED.items()}
    numbers |= {"standard attention is PyTorch's": check_plain, "sparsemax by hand": check_sparsemax,
                "identities of the linear stages": check_euler}
    failed = 0
    for name, check in numbers.items():
        error = check()
        ok = error <= TOLERANCE  # a NaN is not
        failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name}: worst relative difference {error:.1e}")
    for name, config in VARIED.items():
        print(f"ok   gradcheck, {name}: {check_gradients(config)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
