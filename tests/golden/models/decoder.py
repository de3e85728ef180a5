"""A Llama-style decoder with Multi-Token Attention as PyTorch expressions; writes decoder.safetensors beside this file.

SPDX-License-Identifier: MIT

Sources: arXiv:2302.13971 (the block), arXiv:2504.00927 (its attention, from mta_torch.py), arXiv:2104.09864 (rotary).
Written from the mathematics and unlike the C++ code: tokens are picked by a product with one-hot rows, rotary is a
product of complex numbers, documents are cut out and attended alone, every derivative is autograd's.

Run: python tests/golden/models/decoder.py

Tensors of a case, all F64: NAME.tokens (B, S); NAME.d_logits, the cotangent; NAME.logits; NAME.params.<parameter>;
NAME.grads.<parameter>; NAME.x.<l> and NAME.d_x.<l>, the value and the gradient of what enters block l (l = L: the last
norm). Parameters have the names of the C++ library. tests/models/decoder_cases.hpp repeats CASES.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mta_torch
import support

SENSITIVITY = 1e-13  # most that one rounding error in every parameter may move a tensor, relative to its maximum
PLAIN = {"kv_heads": None, "head_dim": None, "eps": 1e-5, "layout": "interleaved", "theta": 1e5, "tied": True,
         "stages": {}, "conv_layers": None, "documents": [0]}
EVERYTHING = {"pre": {"query_kernel": 2, "key_kernel": 3, "mix_group": 2},
              "post": {"query_kernel": 3, "key_kernel": 5, "mix_group": 4}, "norm": "rms_depth", "gate": "vector"}

# Batch, length, configuration.
CASES = {
    "standard": (2, 6, {"vocabulary": 11, "width": 8, "layers": 2, "heads": 2, "hidden": 10}),
    # H D = 24 is not the width; two query heads share a key head; the head is its own matrix.
    "gqa_untied": (2, 5, {"vocabulary": 7, "width": 10, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 6,
                          "hidden": 9, "eps": 1e-3, "layout": "half_split", "theta": 500.0, "tied": False}),
    # Convolutions in one layer of three, the rest of the stages in all; two documents in a row.
    "mta": (2, 7, {"vocabulary": 9, "width": 16, "layers": 3, "heads": 4, "hidden": 14, "stages": EVERYTHING,
                   "conv_layers": [1], "documents": [0, 3]}),
    "mta_exact": (2, 8, {"vocabulary": 13, "width": 8, "layers": 2, "heads": 4, "kv_heads": 1, "head_dim": 4,
                         "hidden": 7, "tied": False,
                         "stages": {"mask": "exact", "normalise": "softmax", "scale": 0.4, "gate": "scalar",
                                    "pre": {"query_kernel": 3, "key_kernel": 4, "key_padding": "left"},
                                    "post": {"query_kernel": 2, "key_kernel": 2, "key_padding": "right",
                                             "mix_group": 2}}}),
}


def complete(config):
    """The configuration with defaults written out, and the attention of every layer."""
    full = PLAIN | config
    full["kv_heads"] = full["kv_heads"] or full["heads"]
    full["head_dim"] = full["head_dim"] or full["width"] // full["heads"]
    full["attention"] = []
    for layer in range(full["layers"]):
        one = {"heads": full["heads"], "kv_heads": full["kv_heads"], "head_dim": full["head_dim"],
               "layer_index": layer, "document_starts": full["documents"]} | full["stages"]
        if full["conv_layers"] is not None and layer not in full["conv_layers"]:
            for side in ("pre", "post"):
                one[side] = {k: v for k, v in one.get(side, {}).items() if k == "mix_group"}
        full["attention"].append(one)
    return full


def parameter_shapes(config):
    """{name: shape} of every learned tensor."""
    c = complete(config)
    d, hidden, wide = c["width"], c["hidden"], c["head_dim"]
    shapes = {"tok_embeddings.weight": (c["vocabulary"], d), "norm.weight": (d,)}
    if not c["tied"]:
        shapes["output.weight"] = (c["vocabulary"], d)
    for layer, attention in enumerate(c["attention"]):
        at = f"layers.{layer}."
        shapes |= {f"{at}attention.wq.weight": (c["heads"] * wide, d), f"{at}attention.wo.weight": (d, c["heads"] * wide),
                   f"{at}attention.wk.weight": (c["kv_heads"] * wide, d),
                   f"{at}attention.wv.weight": (c["kv_heads"] * wide, d),
                   f"{at}feed_forward.w1.weight": (hidden, d), f"{at}feed_forward.w3.weight": (hidden, d),
                   f"{at}feed_forward.w2.weight": (d, hidden),
                   f"{at}attention_norm.weight": (d,), f"{at}ffn_norm.weight": (d,)}
        shapes |= {f"{at}attention.mta.{n}": s for n, s in mta_torch.parameter_shapes(attention).items()}
    return shapes


def turn(x, config):
    """Rotary positions of [H, S, D] as a product with unit complex numbers."""
    pairs = x.shape[-1] // 2
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * config["theta"] ** (-torch.arange(pairs) / pairs)
    unit = torch.polar(torch.ones_like(angle), angle)
    if config["layout"] == "half_split":
        z = torch.complex(*x.chunk(2, dim=-1)) * unit
        return torch.cat([z.real, z.imag], dim=-1)
    z = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * unit
    return torch.view_as_real(z).flatten(-2)


def attend(config, attention, x, weights):
    """[S, d] to [S, H D]: the attention of one row of the batch."""
    heads = {}
    for name, count in (("q", "heads"), ("k", "kv_heads"), ("v", "kv_heads")):
        flat = x @ weights[f"w{name}.weight"].T
        heads[name] = flat.unflatten(-1, (config[count], -1)).movedim(1, 0)
    q, k, v = turn(heads["q"], config), turn(heads["k"], config), heads["v"]
    full = mta_torch.complete(attention)
    stages = {n.removeprefix("mta."): t for n, t in weights.items() if n.startswith("mta.")}
    cut = [mta_torch.document_forward(full, q[:, lo:hi], k[:, lo:hi], v[:, lo:hi], stages)
           for _, lo, hi in mta_torch.documents(attention, 1, x.shape[0])]
    return torch.cat([list(piece.values())[-1] for piece in cut], dim=1).movedim(0, 1).flatten(1)


def below(params, prefix):
    """The parameters whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in params.items() if name.startswith(prefix)}


def forward(config, params, tokens):
    """[B, S] tokens to logits [B, S, V] and the list of what enters each block and the last norm."""
    c, d = complete(config), (config["width"],)
    table = params["tok_embeddings.weight"]
    inputs = [F.one_hot(tokens, c["vocabulary"]).to(table.dtype) @ table]
    for layer, attention in enumerate(c["attention"]):
        p, x = below(params, f"layers.{layer}."), inputs[-1]
        n = F.rms_norm(x, d, p["attention_norm.weight"], c["eps"])
        a = torch.stack([attend(c, attention, row, below(p, "attention.")) for row in n])
        h = x + a @ p["attention.wo.weight"].T
        u = F.rms_norm(h, d, p["ffn_norm.weight"], c["eps"])
        hidden = F.silu(u @ p["feed_forward.w1.weight"].T) * (u @ p["feed_forward.w3.weight"].T)
        inputs.append(h + hidden @ p["feed_forward.w2.weight"].T)
    last = F.rms_norm(inputs[-1], d, params["norm.weight"], c["eps"])
    return last @ params.get("output.weight", table).T, inputs


def random_parameters(gen, config):
    """Far from initial values: matrices that keep a row's size, norm weights about 1, everything else about 0.5."""
    made = {}
    for name, shape in parameter_shapes(config).items():
        normal = support.randn(gen, *shape)
        if name.endswith("norm.weight"):
            made[name] = 1 + 0.4 * normal
        elif ".mta." in name:
            made[name] = 0.5 * normal
        else:
            made[name] = 1.3 * shape[-1] ** -0.5 * normal
    return made


def evaluate(config, params, tokens, d_logits):
    """Logits, block inputs and all gradients of sum(logits * d_logits)."""
    leaves = {name: t.detach().clone().requires_grad_() for name, t in params.items()}
    logits, inputs = forward(config, leaves, tokens)
    for x in inputs:
        x.retain_grad()
    (logits * d_logits).sum().backward()
    result = {"logits": logits} | {f"grads.{name}": t.grad for name, t in leaves.items()}
    for layer, x in enumerate(inputs):
        result |= {f"x.{layer}": x, f"d_x.{layer}": x.grad}
    return {name: t.detach() for name, t in result.items()}


def check_conditioning(name, result, moved):
    """Refuse a case on which a correct implementation could miss 1e-12."""
    for key, want in result.items():
        shift = ((moved[key] - want).abs().max() / want.abs().max()).item()
        if not shift <= SENSITIVITY:
            raise ValueError(f"{name}: {key}: got a shift of {shift} from rounding, expected at most {SENSITIVITY}")


def main():
    torch.set_num_threads(1)
    tensors = {}
    for number, (name, (batch, length, config)) in enumerate(CASES.items()):
        gen = support.generator(6110 + number)
        params = random_parameters(gen, config)
        tokens = torch.randint(config["vocabulary"], (batch, length), generator=gen)
        d_logits = support.randn(gen, batch, length, config["vocabulary"])
        result = evaluate(config, params, tokens, d_logits)
        ulp = torch.finfo(torch.float64).eps
        moved = {n: t * (1 + ulp * support.randn(gen, *t.shape)) for n, t in params.items()}
        check_conditioning(name, result, evaluate(config, moved, tokens, d_logits))
        case = {"tokens": tokens, "d_logits": d_logits} | {f"params.{n}": t for n, t in params.items()} | result
        tensors |= {f"{name}.{n}": t for n, t in case.items()}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/models/decoder.py")


if __name__ == "__main__":
    main()
