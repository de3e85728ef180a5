"""Deterministic writing and reading of golden tensor files.

SPDX-License-Identifier: MIT
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

torch.set_default_dtype(torch.float64)


def generator(seed):
    """A seeded CPU generator; its stream is fixed for one PyTorch version."""
    return torch.Generator(device="cpu").manual_seed(seed)


def randn(gen, *shape):
    """Standard normal float64 tensor of the given shape."""
    return torch.randn(*shape, generator=gen, dtype=torch.float64)


def save(path, tensors, *, dtype=np.float64, note=None):
    """Write {name: torch tensor, NumPy array or number} as one safetensors file, values stored as `dtype`.

    A rerun gives the same bytes: the package sorts the tensors itself, but writes several metadata
    keys in random order, so at most one (mta.generator = `note`) is written. A value that is not
    finite is refused: a golden value is never NaN by accident.
    """
    arrays = {}
    for name, value in tensors.items():
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        # ascontiguousarray would turn a 0-dimensional array into a vector.
        array = np.array(value, dtype=dtype, order="C")
        if not np.isfinite(array).all():
            raise ValueError(f"save: tensor {name}: got a value that is not finite, expected finite ones")
        arrays[name] = array
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, str(path), metadata={"mta.generator": note} if note else None)


def load(path):
    """Read a safetensors file as {name: float64 torch tensor}, widened exactly."""
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in load_file(str(path)).items()}
