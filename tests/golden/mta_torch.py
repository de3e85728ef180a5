"""Multi-Token Attention as batched PyTorch expressions with autograd: the witness the C++ code is judged by.

SPDX-License-Identifier: MIT

Source: arXiv:2504.00927, equations 1 and 4 to 7, section 3.3. Written from the mathematics and on purpose unlike the
C++ reference: every document is cut out and runs alone, convolutions are padded conv2d calls, masks are
broadcast comparisons, and no derivative is written by hand.

    result = evaluate(config, tensors)      # config: the JSON contract as a dict; tensors: float64

`result` holds `out` and `stage.<name>`; when `tensors` holds `d_out` also `grad.<input>` and `stage.d_<name>`.
Scores have the shape [H, n, n] (query, key) inside one document of n tokens.
"""

import math

import torch
import torch.nn.functional as F

SCORE_STAGES = ("logits", "pre_conv", "pre_mix", "weights", "post_conv", "post_mix")
VECTOR_STAGES = ("context", "norm", "gate")

DEFAULTS = {
    "normalise": "softmax", "mask": "twice", "pre": {}, "post": {}, "norm": "none", "gate": "none",
    "eps": 1e-5, "layer_index": 0, "document_starts": [0],
}
CONFIG_KEYS = {"heads", "head_dim", "kv_heads", "scale", *DEFAULTS}
SIDE_KEYS = {"query_kernel", "key_kernel", "key_padding", "mix_group"}


def complete(config):
    """The configuration with every default written out."""
    unknown = [key for key in config if key not in CONFIG_KEYS]
    for side in ("pre", "post"):
        unknown += [f"{side}.{key}" for key in config.get(side, {}) if key not in SIDE_KEYS]
    if unknown:
        raise ValueError(f"complete: config: got unknown keys {unknown}, expected those of the contract")
    full = DEFAULTS | {"kv_heads": config["heads"], "scale": config["head_dim"] ** -0.5} | config
    if full["mask"] not in ("twice", "exact", "none"):
        raise ValueError(f"complete: mask: got {full['mask']}, expected twice, exact or none")
    for side in ("pre", "post"):
        full[side] = {"key_padding": "both"} | full[side]
    return full


def parameter_shapes(config):
    """The learned tensors of a configuration, {name: shape}, in the order of the pipeline."""
    cfg = complete(config)
    heads, dim, shapes = cfg["heads"], cfg["head_dim"], {}
    for side in ("pre", "post"):
        if "query_kernel" in cfg[side]:
            shapes[f"{side}.kernel"] = (heads, cfg[side]["query_kernel"], cfg[side]["key_kernel"])
        if "mix_group" in cfg[side]:
            group = cfg[side]["mix_group"]
            shapes[f"{side}.mix"] = (heads // group, group, group)
    if cfg["norm"] != "none":
        shapes["norm.weight"] = (dim,)
    if cfg["gate"] != "none":
        rows = {"scalar": 1, "vector": dim}[cfg["gate"]]
        shapes |= {"gate.weight": (rows, dim), "gate.bias": (rows,)}
    return shapes


def documents(config, batch, length):
    """[(batch row, first token, one past the last token)] of every packed document."""
    starts = complete(config)["document_starts"]
    rows = starts if isinstance(starts[0], list) else [starts] * batch
    return [(b, lo, hi) for b, row in enumerate(rows) for lo, hi in zip(row, row[1:] + [length])]


def allowed_keys(n, mask, ahead=0):
    """[n, n] boolean: key j may be seen from query i; `ahead` widens the causal triangle by so many keys."""
    query, key = torch.arange(n)[:, None], torch.arange(n)[None, :]
    return torch.ones(n, n, dtype=torch.bool) if mask == "none" else key <= query + ahead


def convolve(scores, kernel, key_padding, exact):
    """Per-head cross-correlation [H, n, n] with [H, c_q, c_k]: queries padded above, keys as named."""
    _, c_q, c_k = kernel.shape
    if key_padding == "both" and c_k % 2 == 0:
        raise ValueError(f"convolve: key_kernel: got {c_k} with padding both, expected an odd extent")
    left = {"both": c_k // 2, "left": c_k - 1, "right": 0}[key_padding]
    heads, n, _ = scores.shape
    if not exact:
        padded = F.pad(scores[None], (left, c_k - 1 - left, c_q - 1, 0))
        return F.conv2d(padded, kernel[:, None], groups=heads)[0]
    # Equation 4: the indicator compares the key with the *output* query, so each query offset becomes
    # a picture of its own, shifted down to the output row before the triangle is cut.
    lower = allowed_keys(n, "twice")
    pictures = [F.pad(scores, (0, 0, c_q - 1 - a, 0))[:, :n] * lower for a in range(c_q)]
    padded = F.pad(torch.stack(pictures, dim=1), (left, c_k - 1 - left)).flatten(0, 1)
    rows = F.conv2d(padded[None], kernel.flatten(0, 1)[:, None, None], groups=heads * c_q)[0]
    return rows.unflatten(0, (heads, c_q)).sum(1)


def mix(scores, weight):
    """Head mixing inside groups: weight [G, c_h, c_h], row = output head, column = input head."""
    groups = scores.unflatten(0, (weight.shape[0], weight.shape[1]))
    return torch.einsum("goh,ghij->goij", weight, groups).flatten(0, 1)


def sparsemax_threshold(scores):
    """Threshold tau of every row (Martins and Astudillo 2016): max(0, row - tau) sums to one."""
    ordered = scores.detach().sort(dim=-1, descending=True).values
    rank = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype)
    size = (1 + rank * ordered > ordered.cumsum(-1)).sum(-1, keepdim=True)
    support = scores >= ordered.gather(-1, size - 1)
    return (torch.where(support, scores, 0.0).sum(-1, keepdim=True) - 1) / size


def normalise(scores, kind):
    """Softmax or sparsemax over keys; scores hold -inf where a key may not be seen."""
    if kind == "softmax":
        return torch.softmax(scores, dim=-1)
    return (scores - sparsemax_threshold(scores)).clamp_min(0)


def depth_factor(norm, layer_index):
    """What the RMS-normed heads are multiplied by; layers count from 0."""
    lambda_init = 0.8 - 0.6 * math.exp(-0.3 * layer_index)
    return {"rms": 1.0, "rms_depth": 1.0 - lambda_init, "rms_layer": (layer_index + 1) ** -0.5}[norm]


def document_forward(cfg, q, k, v, params):
    """One document: q [H, n, D], k and v [Hkv, n, D] to an ordered {stage name: tensor}; the last one is the output."""
    share = cfg["heads"] // cfg["kv_heads"]
    k, v = k.repeat_interleave(share, dim=0), v.repeat_interleave(share, dim=0)
    seen = allowed_keys(q.shape[1], cfg["mask"])
    stages = {}

    def step(name, value):
        stages[name] = value
        return value

    x = step("logits", cfg["scale"] * torch.einsum("hid,hjd->hij", q, k))
    if "pre.kernel" in params:
        exact = cfg["mask"] == "exact"
        source = x if exact else torch.where(seen, x, 0.0)
        x = step("pre_conv", convolve(source, params["pre.kernel"], cfg["pre"]["key_padding"], exact))
    if "pre.mix" in params:
        x = step("pre_mix", mix(x, params["pre.mix"]))
    x = step("weights", normalise(x.masked_fill(~seen, -math.inf), cfg["normalise"]))
    if "post.kernel" in params:
        x = convolve(x, params["post.kernel"], cfg["post"]["key_padding"], exact=False)
        x = step("post_conv", torch.where(seen, x, 0.0))
    if "post.mix" in params:
        x = step("post_mix", mix(x, params["post.mix"]))
    y = step("context", x @ v)
    if "norm.weight" in params:
        factor = depth_factor(cfg["norm"], cfg["layer_index"])
        y = step("norm", factor * F.rms_norm(y, (y.shape[-1],), params["norm.weight"], cfg["eps"]))
    if "gate.weight" in params:
        step("gate", y * torch.sigmoid(F.linear(y, params["gate.weight"], params["gate.bias"])))
    return stages


def reported(cfg, name, value):
    """A stage, or its gradient, with exact zeros at the positions the contract does not judge."""
    if name not in SCORE_STAGES:
        return value
    ahead = 0
    if name == "logits" and cfg["mask"] == "exact":
        ahead = cfg["pre"].get("query_kernel", 1) - 1
    return torch.where(allowed_keys(value.shape[-1], cfg["mask"], ahead), value, 0.0)


def assemble(cfg, pieces, spans, batch, length):
    """Put per-document tensors back into one [B, H, S, S] or [B, H, S, D] tensor per stage."""
    full = {}
    for (b, lo, hi), piece in zip(spans, pieces):
        for name, value in piece.items():
            width = length if name in SCORE_STAGES else cfg["head_dim"]
            where = full.setdefault(name, torch.zeros(batch, cfg["heads"], length, width, dtype=torch.float64))
            columns = slice(lo, hi) if name in SCORE_STAGES else slice(None)
            where[b, :, lo:hi, columns] = reported(cfg, name, value)
    return full


def evaluate(config, tensors):
    """Run the pipeline; with `d_out` also differentiate sum(out * d_out). See the top of this file."""
    cfg = complete(config)
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float64:
            raise ValueError(f"evaluate: {name}: got {tensor.dtype}, expected torch.float64")
    leaves = {name: t.detach().clone().requires_grad_() for name, t in tensors.items() if name != "d_out"}
    params = {name: leaves[name] for name in parameter_shapes(config)}
    for name, shape in parameter_shapes(config).items():
        if tuple(params[name].shape) != shape:
            raise ValueError(f"evaluate: {name}: got {tuple(params[name].shape)}, expected {shape}")
    batch, _, length, _ = leaves["q"].shape
    spans = documents(config, batch, length)
    cut = [tuple(leaves[x][b, :, lo:hi] for x in "qkv") for b, lo, hi in spans]
    pieces = [document_forward(cfg, *qkv, params) for qkv in cut]
    values = assemble(cfg, [{k: t.detach() for k, t in p.items()} for p in pieces], spans, batch, length)
    result = {"out": values[next(reversed(values))]} | {f"stage.{n}": t for n, t in values.items()}
    if "d_out" not in tensors:
        return result
    last = next(reversed(values))
    loss = sum((p[last] * tensors["d_out"][b, :, lo:hi]).sum() for (b, lo, hi), p in zip(spans, pieces))
    flat = [t for p in pieces for t in p.values()]
    grads = torch.autograd.grad(loss, [*leaves.values(), *flat])
    result |= {f"grad.{name}": g for name, g in zip(leaves, grads)}
    rest = iter(grads[len(leaves):])
    d_pieces = [{name: next(rest) for name in p} for p in pieces]
    return result | {f"stage.d_{n}": t for n, t in assemble(cfg, d_pieces, spans, batch, length).items()}


def sparsemax_margin(config, tensors):
    """Smallest distance of an allowed score from its row's threshold: a tie would make the gradient a choice."""
    cfg, margin = complete(config), math.inf
    params = {name: tensors[name] for name in parameter_shapes(config)}
    batch, _, length, _ = tensors["q"].shape
    for b, lo, hi in documents(config, batch, length):
        stages = document_forward(cfg, *(tensors[x][b, :, lo:hi] for x in "qkv"), params)
        score = stages[[name for name in ("logits", "pre_conv", "pre_mix") if name in stages][-1]]
        seen = allowed_keys(hi - lo, cfg["mask"])
        tau = sparsemax_threshold(score.masked_fill(~seen, -math.inf))
        margin = min(margin, (score - tau).abs()[seen.expand_as(score)].min().item())
    return margin
