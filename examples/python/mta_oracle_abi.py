"""The structs of include/mta/oracle/c_api.h, and arrays by pointer.

SPDX-License-Identifier: MIT
"""

import ctypes

import numpy as np

ABI_VERSION = 1
UNSUPPORTED = 1

codes = {"float64": 1, "float32": 2, "float16": 3, "bfloat16": 4}
names_of = {code: name for name, code in codes.items()}
sizes = {1: 8, 2: 4, 3: 2, 4: 2}


class Tensor(ctypes.Structure):
    """mta_tensor"""

    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("dtype", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("stride", ctypes.POINTER(ctypes.c_int64))]

    def extents(self):
        return tuple(self.shape[:self.ndim])

    def steps(self):
        return tuple(self.stride[:self.ndim])


def dtype_code(dtype):
    """The code of a NumPy or PyTorch type."""
    name = str(dtype).removeprefix("torch.")
    if name not in codes:
        raise TypeError(f"got elements of type {name}, expected one of {', '.join(codes)}")
    return codes[name]


class TensorList:
    """{name: array} as a C array of mta_tensor. The arrays stay where they are, so this must outlive its use."""

    def __init__(self, arrays):
        self._kept = []
        self.count = len(arrays)
        self.c = (Tensor * max(1, self.count))(*(self._tensor(name, array) for name, array in arrays.items()))

    def _tensor(self, name, array):
        if hasattr(array, "data_ptr"):  # a PyTorch tensor
            if array.device.type != "cpu":
                raise TypeError(f"{name}: got a tensor on {array.device}, expected one in main memory")
            array = array.detach()
            pointer, dtype, shape, stride = array.data_ptr(), array.dtype, array.shape, array.stride()
        else:
            array = array if isinstance(array, (np.ndarray, list, float)) else np.from_dlpack(array)
            array = np.asarray(array)
            if any(step % array.itemsize for step in array.strides):
                array = array.copy()
            pointer, dtype, shape = array.ctypes.data, array.dtype, array.shape
            stride = [step // array.itemsize for step in array.strides]
        extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
        steps = (ctypes.c_int64 * max(1, len(shape)))(*stride)
        encoded = name.encode()
        self._kept += [array, extents, steps, encoded]
        return Tensor(encoded, pointer, dtype_code(dtype), len(shape), extents, steps)


class Call(ctypes.Structure):
    """mta_call"""

    _fields_ = [("abi_version", ctypes.c_int32), ("n_inputs", ctypes.c_int32), ("n_outputs", ctypes.c_int32),
                ("reserved", ctypes.c_int32), ("size", ctypes.c_size_t), ("inputs", ctypes.POINTER(Tensor)),
                ("outputs", ctypes.POINTER(Tensor)), ("config_json", ctypes.c_char_p), ("config", ctypes.c_void_p),
                ("message", ctypes.c_void_p), ("message_size", ctypes.c_size_t)]

    def __init__(self, inputs, outputs, config_json, message):
        super().__init__(ABI_VERSION, inputs.count, outputs.count, 0, ctypes.sizeof(Call), inputs.c, outputs.c,
                         config_json.encode(), None, ctypes.cast(message, ctypes.c_void_p), len(message))
        self._kept = (inputs, outputs, message)


Function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Call))


def memory_of(tensor):
    """The elements of a Tensor where they are: an array of float64, float32, float16, or uint16 for bfloat16."""
    kind = {1: np.float64, 2: np.float32, 3: np.float16, 4: np.uint16}[tensor.dtype]
    shape, stride, size = tensor.extents(), tensor.steps(), sizes[tensor.dtype]
    if 0 in shape:
        return np.empty(shape, kind)
    span = 1 + sum((extent - 1) * step for extent, step in zip(shape, stride))
    raw = (ctypes.c_char * (span * size)).from_address(tensor.data)
    return np.ndarray(shape, kind, buffer=raw, strides=[step * size for step in stride])


def as_array(tensor):
    """The elements of a Tensor: a view, or for bfloat16 a copy widened to float32."""
    memory = memory_of(tensor)
    if tensor.dtype != codes["bfloat16"]:
        return memory
    return (memory.astype(np.uint32) << 16).view(np.float32)


def _bfloat16_bits(array):
    """Nearest bfloat16 of float32 numbers, ties to even, as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), bits >> 16 | 0x40, rounded).astype(np.uint16)


def write_array(tensor, values):
    """Fills a Tensor, rounding to its type. Raises ValueError for another shape."""
    values = values.detach().to("cpu").double().numpy() if hasattr(values, "detach") else np.asarray(values)
    if values.shape != tensor.extents():
        raise ValueError(f"{tensor.name.decode()}: got shape {list(values.shape)}, expected {list(tensor.extents())}")
    # Doubles that come from bfloat16 or float32 lose nothing on the way through float32.
    memory_of(tensor)[...] = _bfloat16_bits(values) if tensor.dtype == codes["bfloat16"] else values


def message_into(call, sentence):
    """Leaves a sentence where a function explains its code."""
    if call.message and call.message_size:
        text = sentence.encode()[:call.message_size - 1] + b"\0"
        ctypes.memmove(call.message, text, len(text))
