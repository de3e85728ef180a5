"""Learning rates by PyTorch's own schedulers, update by update, behind a warm-up of k / w.

SPDX-License-Identifier: MIT

Run: python tests/golden/optim/schedule.py
"""

import sys
from pathlib import Path

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import support

# name: peak, warm-up, total, ratio at the end
CASES = {
    "cosine": (3e-4, 20, 143, 0.1),
    "cosine_to_zero": (1e-3, 0, 50, 0.0),
    "linear": (1.5e-4, 7, 60, 0.25),
    "linear_to_zero": (2.0, 3, 41, 0.0),
}


def decay_rates(name, peak, steps, ratio):
    """The rates of updates 0 to `steps` of the decay alone."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    if name.startswith("cosine"):
        scheduler = CosineAnnealingLR(optimizer, T_max=steps, eta_min=peak * ratio)
    else:
        scheduler = LinearLR(optimizer, start_factor=1.0, end_factor=ratio, total_iters=steps)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def main():
    tensors = {}
    for name, (peak, warmup, total, ratio) in CASES.items():
        rates = [peak * step / warmup for step in range(warmup)] + decay_rates(name, peak, total - warmup, ratio)
        tensors |= {f"{name}.config": [peak, warmup, total, ratio], f"{name}.rates": rates}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/optim/schedule.py")


if __name__ == "__main__":
    main()
