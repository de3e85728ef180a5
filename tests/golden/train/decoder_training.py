"""Fifty updates of a small decoder with Multi-Token Attention by PyTorch; writes decoder_training.safetensors.

SPDX-License-Identifier: MIT

Run: python tests/golden/train/decoder_training.py

The model is that of ../models/decoder.py: vocabulary 32, width 16, 2 layers, 2 heads, hidden 24, tied, theta 1e5,
norm_eps 1e-5; kernels 2 x 3 before and 3 x 5 after the softmax (key padding both) in layer 1 only; both heads mixed
on both sides, norm rms and a scalar gate in both layers; no dropout. Loss of a batch: the sum of the token losses
times mask, over sum(mask) + 1e-6. Optimizer: torch.optim.AdamW, betas 0.9 and 0.98, eps 1e-8, weight decay 0.05 on every
parameter, gradients clipped to a global norm of 1 by clip_grad_norm_ once per update. Learning rate of update n,
counted from 0: 0.01 times n/5 before update 5, then 1 - (n - 5)/45: the first update has rate 0.

Tensors, all F64:
    initial.<parameter>  final.<parameter>   weights before and after all updates, under the C++ library's names
    tokens, targets, mask                    (50, 4, 16): one batch per update; mask is 0 or 1
    losses, norms, learning_rates            (50): loss before the update, global gradient norm before clipping
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "models")]
import decoder
import support

UPDATES, BATCH, LENGTH = 50, 4, 16
PEAK, WARMUP, CLIP = 0.01, 5, 1.0
CONFIG = {"vocabulary": 32, "width": 16, "layers": 2, "heads": 2, "hidden": 24, "conv_layers": [1],
          "stages": {"pre": {"query_kernel": 2, "key_kernel": 3, "mix_group": 2},
                     "post": {"query_kernel": 3, "key_kernel": 5, "mix_group": 2}, "norm": "rms", "gate": "scalar"}}
AGREEMENT = 1e-9  # what the C++ test asks of every loss
ROUNDING = 1e-11  # most that one rounding error in every initial weight may move the losses


def batches(gen):
    """Windows of sequences in which most tokens follow from the two before them, so that there is something to learn."""
    tokens = torch.randint(CONFIG["vocabulary"], (UPDATES, BATCH, LENGTH + 1), generator=gen)
    noise = torch.rand(tokens.shape, generator=gen) < 0.1
    for s in range(2, LENGTH + 1):
        follows = (3 * tokens[..., s - 1] + tokens[..., s - 2] + 1) % 8
        tokens[..., s] = torch.where(noise[..., s], tokens[..., s], follows)
    mask = (torch.rand((UPDATES, BATCH, LENGTH), generator=gen) < 0.8).double()
    return tokens[..., :-1], tokens[..., 1:], mask


def rate(update):
    """Learning rate of an update, given how many came before it."""
    return PEAK * (update / WARMUP if update < WARMUP else 1 - (update - WARMUP) / (UPDATES - WARMUP))


def train(initial, data):
    """(losses, norms before clipping, final weights)."""
    params = {name: t.clone().requires_grad_() for name, t in initial.items()}
    optimizer = torch.optim.AdamW(params.values(), lr=PEAK, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05, foreach=False)
    losses, norms = [], []
    for update, (tokens, targets, mask) in enumerate(zip(*data)):
        optimizer.param_groups[0]["lr"] = rate(update)
        optimizer.zero_grad()
        logits, _ = decoder.forward(CONFIG, params, tokens)
        token_losses = F.cross_entropy(logits.movedim(2, 1), targets, reduction="none")
        loss = (token_losses * mask).sum() / (mask.sum() + 1e-6)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), CLIP).item())
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses), torch.tensor(norms), {name: t.detach() for name, t in params.items()}


def initial_parameters(gen):
    """As training starts, but kernels and mixes are away from the identity and gate biases away from 0."""
    made = {}
    for name, shape in decoder.parameter_shapes(CONFIG).items():
        if name.endswith("norm.weight"):
            made[name] = torch.ones(shape)
        elif name.endswith(("kernel", "mix")):
            made[name] = 0.3 * support.randn(gen, *shape)
        elif name.endswith("bias"):
            made[name] = 0.1 * support.randn(gen, *shape)
        else:
            made[name] = shape[-1] ** -0.5 * support.randn(gen, *shape)
    return made


def check_run(initial, data, losses, norms, gen):
    """Refuse a run that learns nothing, clips always or never, or on which rounding shows."""
    if not losses[-5:].mean() < 0.8 * losses[:5].mean():
        raise ValueError(f"decoder_training: losses: got {losses.tolist()}, expected them to fall")
    clipped = int((norms > CLIP).sum())
    if not 5 <= clipped <= UPDATES - 5:
        raise ValueError(f"decoder_training: norms: got {clipped} above {CLIP}, expected some above and some below")
    ulp = torch.finfo(torch.float64).eps
    moved, _, _ = train({n: t * (1 + ulp * support.randn(gen, *t.shape)) for n, t in initial.items()}, data)
    shift = ((moved - losses).abs() / losses).max().item()
    if not shift <= ROUNDING:
        raise ValueError(f"decoder_training: got losses moved by {shift} by rounding, expected at most {ROUNDING}")
    print(f"losses {losses[0]:.3f} to {losses[-1]:.3f}, {clipped} of {UPDATES} clipped, rounding moves them by {shift:.1e}")


def main():
    torch.set_num_threads(1)
    gen = support.generator(6200)
    initial, data = initial_parameters(gen), batches(gen)
    losses, norms, final = train(initial, data)
    check_run(initial, data, losses, norms, gen)
    tensors = dict(zip(("tokens", "targets", "mask"), data))
    tensors |= {"losses": losses, "norms": norms, "learning_rates": torch.tensor([rate(n) for n in range(UPDATES)])}
    tensors |= {f"initial.{name}": t for name, t in initial.items()} | {f"final.{name}": t for name, t in final.items()}
    support.save(Path(__file__).with_suffix(".safetensors"), tensors, note="tests/golden/train/decoder_training.py")


if __name__ == "__main__":
    main()
