"""A candidate: multi-token attention in PyTorch, gradients by autograd. Written for the worked example.

SPDX-License-Identifier: MIT

arXiv:2504.00927 with the masks of Eq. 5: scores of hidden keys are zeroed before the convolution and again hidden from
the softmax after it. Packed documents, Eq. 4 (`exact`) and sparsemax are refused.
"""

import math

import torch
from torch.nn import functional


def _convolve(scores, kernel, padding):
    """Each head's score map with its own kernel; `scores` (B, H, S, S), `kernel` (H, cq, ck)."""
    heads, cq, ck = kernel.shape
    left = {"both": (ck - 1) // 2, "left": ck - 1, "right": 0}[padding]
    room = functional.pad(scores, (left, ck - 1 - left, cq - 1, 0))
    return functional.conv2d(room, kernel.unsqueeze(1), groups=heads)


def _mix(scores, mix):
    """Heads of a group combined; `mix` (groups, out, in)."""
    groups, size, _ = mix.shape
    grouped = scores.unflatten(1, (groups, size))
    return torch.einsum("goc,bgcij->bgoij", mix, grouped).flatten(1, 2)


def _side(scores, side, config, inputs, hide, stages):
    """Convolution and mixing on one side of the softmax."""
    options = config.get(side, {})
    if "query_kernel" in options:
        scores = hide(_convolve(scores, inputs[f"{side}.kernel"], options.get("key_padding", "both")))
        stages[f"stage.{side}_conv"] = scores
    if "mix_group" in options:
        scores = hide(_mix(scores, inputs[f"{side}.mix"]))
        stages[f"stage.{side}_mix"] = scores
    return scores


def _normalised(config, x, weight):
    layer = config.get("layer_index", 0)
    factor = {"rms": 1.0, "rms_depth": 0.2 + 0.6 * math.exp(-0.3 * layer), "rms_layer": (layer + 1) ** -0.5}
    mean_square = x.square().mean(-1, keepdim=True)
    return x * torch.rsqrt(mean_square + config.get("eps", 1e-5)) * weight * factor[config["norm"]]


def _refuse_what_is_missing(config):
    starts = config.get("document_starts", [0])
    if starts not in ([0], [[0]]) and any(row != [0] for row in starts):
        raise NotImplementedError("packed documents")
    if config.get("mask", "twice") == "exact" or config.get("normalise", "softmax") != "softmax":
        raise NotImplementedError("mask exact and sparsemax")


def attention(config, inputs):
    """The output and every stage, computed in float32 (float64 for float64)."""
    _refuse_what_is_missing(config)
    dtype = inputs["q"].dtype
    inputs = {name: x if dtype == torch.float64 else x.float() for name, x in inputs.items()}
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    size = q.shape[2]
    visible = torch.ones(size, size, dtype=torch.bool, device=q.device)
    visible = visible if config.get("mask", "twice") == "none" else visible.tril()

    def hide(scores):
        return scores.masked_fill(~visible, 0)

    stages = {}
    scores = hide(q @ k.transpose(-1, -2) * config.get("scale", q.shape[-1] ** -0.5))
    stages["stage.logits"] = scores
    scores = _side(scores, "pre", config, inputs, hide, stages)
    weights = hide(torch.softmax(scores.masked_fill(~visible, -math.inf), dim=-1))
    stages["stage.weights"] = weights
    x = _side(weights, "post", config, inputs, hide, stages) @ v
    stages["stage.context"] = x
    if config.get("norm", "none") != "none":
        x = stages["stage.norm"] = _normalised(config, x, inputs["norm.weight"])
    if config.get("gate", "none") != "none":
        x = x * torch.sigmoid(functional.linear(x, inputs["gate.weight"], inputs["gate.bias"]))
        stages["stage.gate"] = x
    return {"out": x.to(dtype), **stages}
