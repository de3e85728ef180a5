"""A candidate: multi-token attention in PyTorch, gradients by autograd. Written for the worked example.

SPDX-License-Identifier: MIT

arXiv:2504.00927, Eqs. 4 to 7, with every option of the configuration. Convolutions go over the rows of the kernel: the
scores are moved down by one query after the other and convolved along the keys.
"""

import math

import torch
from torch.nn import functional


class _Masks:
    """Who may read whom, as (B, 1, S, S) of booleans: query, key."""

    def __init__(self, config, batch, size, device):
        place = torch.arange(size, device=device)
        starts = config.get("document_starts", [0])
        starts = starts if isinstance(starts[0], list) else [starts]
        document = torch.stack([torch.bucketize(place, torch.tensor(row, device=device), right=True) for row in starts])
        document = document.expand(batch, size)
        self.same_document = (document[:, :, None] == document[:, None, :]).unsqueeze(1)
        self._ahead = place[None, :] - place[:, None]  # how many tokens the key is after the query
        causal = config.get("mask", "twice") != "none"
        self.visible = self.same_document & (self._ahead <= 0) if causal else self.same_document

    def up_to(self, tokens):
        """Keys of the document that are at most so many tokens after the query."""
        return self.same_document & (self._ahead <= tokens)


def _zero_outside(scores, mask):
    return scores.masked_fill(~mask, 0)


def _convolve(scores, kernel, padding, readable):
    """Each head's scores (B, H, S, S) with its own kernel (H, cq, ck); taps outside `readable` do not count."""
    heads, cq, ck = kernel.shape
    left = {"both": (ck - 1) // 2, "left": ck - 1, "right": 0}[padding]
    total = 0
    for u in range(cq):
        rows = functional.pad(scores, (0, 0, cq - 1 - u, 0))[:, :, :scores.shape[2]]
        rows = functional.pad(_zero_outside(rows, readable), (left, ck - 1 - left))
        total = total + functional.conv2d(rows, kernel[:, None, u:u + 1], groups=heads)
    return total


def _mix(scores, mix):
    """Heads of a group combined; `mix` (groups, out, in)."""
    groups, size, _ = mix.shape
    grouped = scores.unflatten(1, (groups, size))
    return torch.einsum("goc,bgcij->bgoij", mix, grouped).flatten(1, 2)


def _side(scores, side, config, inputs, masks, stages):
    """Convolution and mixing on one side of the softmax."""
    options = config.get(side, {})
    if "query_kernel" in options:
        exact = side == "pre" and config.get("mask") == "exact"
        readable = masks.up_to(0) if exact else masks.same_document
        scores = _convolve(scores, inputs[f"{side}.kernel"], options.get("key_padding", "both"), readable)
        scores = stages[f"stage.{side}_conv"] = _zero_outside(scores, masks.visible)
    if "mix_group" in options:
        scores = stages[f"stage.{side}_mix"] = _zero_outside(_mix(scores, inputs[f"{side}.mix"]), masks.visible)
    return scores


def _sparsemax(scores):
    """Rows projected onto the simplex; -inf takes no part."""
    scores = scores - scores.amax(-1, keepdim=True).detach()
    ordered = scores.sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    count = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    support = (1 + count * ordered > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return (scores - threshold).clamp(min=0)


def _normalised(config, x, weight):
    layer = config.get("layer_index", 0)
    factor = {"rms": 1.0, "rms_depth": 0.2 + 0.6 * math.exp(-0.3 * layer), "rms_layer": (layer + 1) ** -0.5}
    mean_square = x.square().mean(-1, keepdim=True)
    return x * torch.rsqrt(mean_square + config.get("eps", 1e-5)) * weight * factor[config["norm"]]


def _weights(config, inputs, k, masks, stages):
    """From queries and keys to the rows of weights."""
    scores = inputs["q"] @ k.transpose(-1, -2) * config.get("scale", config["head_dim"] ** -0.5)
    extent = config.get("pre", {}).get("query_kernel", 1)
    kept = masks.up_to(extent - 1) if config.get("mask") == "exact" else masks.visible
    scores = stages["stage.logits"] = _zero_outside(scores, kept)
    scores = _side(scores, "pre", config, inputs, masks, stages).masked_fill(~masks.visible, -math.inf)
    sparse = config.get("normalise", "softmax") == "sparsemax"
    weights = _sparsemax(scores) if sparse else torch.softmax(scores, dim=-1)
    stages["stage.weights"] = weights
    return weights


def attention(config, inputs):
    """The output and every stage, computed in float32 (float64 for float64)."""
    dtype = inputs["q"].dtype
    inputs = {name: x if dtype == torch.float64 else x.float() for name, x in inputs.items()}
    heads = inputs["q"].shape[1]
    k, v = (inputs[name].repeat_interleave(heads // inputs[name].shape[1], dim=1) for name in "kv")
    masks = _Masks(config, inputs["q"].shape[0], inputs["q"].shape[2], inputs["q"].device)
    stages = {}
    weights = _weights(config, inputs, k, masks, stages)
    x = stages["stage.context"] = _side(weights, "post", config, inputs, masks, stages) @ v
    if config.get("norm", "none") != "none":
        x = stages["stage.norm"] = _normalised(config, x, inputs["norm.weight"])
    if config.get("gate", "none") != "none":
        gate = functional.linear(x, inputs["gate.weight"], inputs["gate.bias"])
        x = stages["stage.gate"] = x * torch.sigmoid(gate)
    return {"out": x.to(dtype), **stages}
