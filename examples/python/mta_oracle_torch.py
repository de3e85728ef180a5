"""PyTorch and the oracle: the reference as an autograd function, and the judgement of functions with autograd.

SPDX-License-Identifier: MIT

    out = attention(config, {"q": q, "k": k, "v": v})       # the reference; out.backward() gives its gradients
    check(my_attention, suite="smoke").assert_agrees()      # my_attention(config, inputs) -> out, or a dict with stages
"""

import numpy as np
import torch

import mta_oracle
from mta_oracle_abi import codes, memory_of

types = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ReferenceAttention(torch.autograd.Function):
    """Multi-token attention as the oracle computes it, in double, forward and backward. On tensors in main memory."""

    @staticmethod
    def forward(ctx, config, names, *tensors):
        ctx.config, ctx.names = config, names
        ctx.save_for_backward(*tensors)
        out = mta_oracle.reference(config, dict(zip(names, tensors)))["out"]
        return torch.from_numpy(out).to(tensors[0].dtype)

    @staticmethod
    def backward(ctx, d_out):
        inputs = dict(zip(ctx.names, ctx.saved_tensors))
        results = mta_oracle.reference(ctx.config, inputs | {"d_out": d_out})
        return None, None, *(torch.from_numpy(results[f"grad.{name}"]).to(x.dtype) for name, x in inputs.items())


def attention(config, inputs):
    """The reference's output for {name: tensor}; differentiable with respect to every one of them."""
    return ReferenceAttention.apply(config, tuple(inputs), *inputs.values())


def tensor_of(t):
    """A mta_oracle_abi.Tensor as a PyTorch tensor on the same memory."""
    memory = memory_of(t)
    if t.dtype == codes["bfloat16"]:
        return torch.from_numpy(memory.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(memory)


def problem_tensors(problem):
    """The inputs of a mta_oracle.Problem as tensors of its type."""
    return {name: torch.from_numpy(x).to(types[problem.dtype]) for name, x in problem.inputs.items()}


def _results(function, config, inputs):
    results = function(config, inputs)
    return results if isinstance(results, dict) else {"out": results}


def check(function, device="cpu", **options):
    """Judges a function of (config, {name: tensor}) that PyTorch can differentiate; returns a mta_oracle.Report.

    It returns the output, or a dict with `out` and any stage.<name>. Gradients come from autograd; so do those of the
    stages that it returns, provided that the output was computed from the very tensors that it returned. Inputs have the
    case's type and are moved to `device`. Options as in mta_oracle.check.
    """
    def forward(config, tensors):
        with torch.no_grad():
            return _results(function, config, {name: tensor_of(t).to(device) for name, t in tensors.items()})

    def backward(config, tensors):
        inputs = {name: tensor_of(t).to(device).clone() for name, t in tensors.items()}
        d_out = inputs.pop("d_out")
        for x in inputs.values():
            x.requires_grad_(True)
        results = _results(function, config, inputs)
        stages = {name: x for name, x in results.items() if name.startswith("stage.") and x.requires_grad}
        names = [f"grad.{name}" for name in inputs] + [name.replace("stage.", "stage.d_") for name in stages]
        found = torch.autograd.grad(results["out"], [*inputs.values(), *stages.values()], d_out.to(results["out"].dtype),
                                    allow_unused=True)
        # A tensor that the output does not depend on has a gradient of 0; a stage that it does not, none to show.
        return {name: torch.zeros_like(x) if g is None else g
                for name, g, x in zip(names, found, [*inputs.values(), *stages.values()])
                if g is not None or name.startswith("grad.")}

    forward.__name__ = getattr(function, "__name__", "candidate")
    return mta_oracle.check_tensors(forward, backward, **options)
