"""Reads and writes safetensors files with the standard library alone: enough to test programs by their files.

SPDX-License-Identifier: MIT
"""

import json
import struct
from typing import NamedTuple

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


class Tensor(NamedTuple):
    """One tensor: its type, its extents, its little-endian bytes."""

    dtype: str
    shape: tuple
    data: bytes

    @property
    def count(self):
        return len(self.data) // SIZES[self.dtype]

    def values(self):
        """The elements of an F64 tensor."""
        return list(struct.unpack(f"<{self.count}d", self.data))


def f64(shape, values):
    """An F64 tensor of these elements."""
    return Tensor("F64", tuple(shape), struct.pack(f"<{len(values)}d", *values))


def narrowed(tensor, dtype):
    """The F64 tensor in another floating-point type; BF16 by cutting off, which is not the nearest but exact enough."""
    values = tensor.values()
    if dtype == "BF16":
        data = b"".join(struct.pack("<f", value)[2:] for value in values)
    else:
        data = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'e'}", *values)
    return Tensor(dtype, tensor.shape, data)


def pack(header, data=b""):
    """The bytes of a file; `header` is text, bytes or something that JSON can hold."""
    if not isinstance(header, (str, bytes)):
        header = json.dumps(header)
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text)) + text + data


def dump(tensors, metadata=None):
    """The bytes of a file that holds these tensors, {name: Tensor}."""
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    return pack(header, b"".join(tensor.data for tensor in tensors.values()))


def load(path):
    """({name: Tensor}, metadata) of a file that is well formed."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    metadata = header.pop("__metadata__", None)
    data = content[8 + size:]
    return {name: Tensor(entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}, metadata
