"""AdamW by torch.optim.AdamW in float64: several updates with changing rates, parameter groups, a tensor frozen at first.

SPDX-License-Identifier: MIT

Run: python tests/golden/optim/adamw.py
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

STEPS = 9
FROZEN_STEPS = 3  # c has no gradient before, so PyTorch does not touch it
SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 3, 2)}
# name: beta1, beta2, eps, weight decay of a and c, weight decay of b, factor on b's rate, factor of the gradients
CASES = {
    "default": (0.9, 0.95, 1e-8, 0.1, 0.1, 1.0, 1.0),
    "language_model": (0.9, 0.98, 1e-8, 0.05, 0.0, 0.5, 1e-3),
    "no_momentum": (0.0, 0.999, 1e-3, 0.0, 0.3, 3.0, 1.0),
    "eps_matters": (0.8, 0.6, 0.1, 0.02, 0.02, 1.0, 0.05),
}


def run(gen, beta1, beta2, eps, decay, decay_b, scale_b, factor):
    """Tensors of one case: starts, gradients and rates of each step, everything after each step, moments at the end."""
    parameters = {name: support.randn(gen, *shape).requires_grad_() for name, shape in SHAPES.items()}
    tensors = {name: p.detach().clone() for name, p in parameters.items()}
    grads = {name: support.randn(gen, STEPS, *shape) * factor for name, shape in SHAPES.items()}
    rates = torch.rand(STEPS, generator=gen) * 0.05
    rates[0] = 0  # as with a warm-up
    optimizer = torch.optim.AdamW(
        [{"params": [parameters["a"], parameters["c"]]}, {"params": [parameters["b"]], "weight_decay": decay_b}],
        lr=0.0, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    after = {name: [] for name in SHAPES}
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = float(rates[step])
        optimizer.param_groups[1]["lr"] = float(rates[step]) * scale_b
        for name, parameter in parameters.items():
            parameter.grad = None if name == "c" and step < FROZEN_STEPS else grads[name][step].clone()
        optimizer.step()
        for name, parameter in parameters.items():
            after[name].append(parameter.detach().clone().flatten())
    tensors["rates"] = rates
    for name, parameter in parameters.items():
        tensors[f"{name}.grads"] = grads[name].reshape(STEPS, -1)
        tensors[f"{name}.after"] = torch.stack(after[name])
        tensors[f"{name}.first"] = optimizer.state[parameter]["exp_avg"]
        tensors[f"{name}.second"] = optimizer.state[parameter]["exp_avg_sq"]
        tensors[f"{name}.steps"] = optimizer.state[parameter]["step"].reshape(1)
    return tensors


def main():
    gen, tensors = support.generator(611), {}
    for case, numbers in CASES.items():
        tensors |= {f"{case}.{name}": tensor for name, tensor in run(gen, *numbers).items()}
        tensors[f"{case}.config"] = list(numbers[:6])
    tensors["frozen_steps"] = [FROZEN_STEPS]
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/optim/adamw.py")


if __name__ == "__main__":
    main()
