"""The portable recipe of the inputs of a case, in integers: docs/oracle/cases.md in Python.

SPDX-License-Identifier: MIT
"""

import math

STREAMS = ["q", "k", "v", "pre.kernel", "pre.mix", "post.kernel", "post.mix", "norm.weight", "gate.weight",
           "gate.bias", "d_out"]
CHOICES = 16
WIDTH = {"bf16": 8, "fp16": 11, "fp32": 24, "fp64": 24}
SMALLEST = {"bf16": -133, "fp16": -24, "fp32": -149, "fp64": -149}
FAR = {"large-positive": (128, -7), "large-negative": (128, -7), "below-mask": (12288, -13)}
EXACT = ("exact-integers", "zero-scores")
MASK = 0xFFFFFFFF


def philox(counter, key):
    """Philox4x32-10: four 32-bit words from four, under two."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed, stream, n):
    """The four words of element n of a stream."""
    return philox((n & MASK, n >> 32, stream, 0), (seed & MASK, seed >> 32))


def bell(w, width):
    return sum(word >> (33 - width) for word in w) - 2 * ((1 << (width - 1)) - 1), 2 - width


def flat(w, width):
    return (w[0] >> (32 - width)) - (1 << (width - 1)), 1 - width


def around_one(w, width):
    return (w[0] >> (33 - width)) + (1 << (width - 2)), 1 - width


def small(w, m):
    return w[0] % (2 * m + 1) - m, 0


def small_not_zero(w):
    return (-2, -1, 1, 2)[w[0] % 4], 0


def scaled(number, power):
    return number[0], number[1] + power


def half_log(n):
    return n.bit_length() // 2


def root_of_score(target, head_dim):
    """The smallest c of 8 significant bits with c^4 >= target^2 D, as (integer, exponent)."""
    c, exponent = 1, 0
    while c ** 4 < target * target * head_dim:
        c += 1
    while c > 255:
        c, exponent = (c + 1) // 2, exponent + 1
    return c, exponent


def one_hot(seed, name, n, shape):
    length, dim = shape[2], shape[3]
    row, channel = divmod(n, dim)
    if channel != 0:
        return (0, 0) if name == "q" else small(words(seed, STREAMS.index(name), n), 2)
    if name == "q":
        return scaled(small_not_zero(words(seed, 0, row)), 9 + ((dim - 1).bit_length() + 1) // 2)
    head, token = divmod(row, length)
    w = words(seed, CHOICES, head)
    bits = min(8, (length - 1).bit_length())
    return ((w[0] | 1) * token + w[1]) % (1 << bits), 7


def activation(fill, name, n, shape, seed, io):
    """An element of q, k, v or d_out."""
    stream, width, (row, channel) = STREAMS.index(name), WIDTH[io], divmod(n, shape[3])
    w = words(seed, stream, n)
    if fill == "uniform":
        return flat(w, width)
    if fill == "offset" and name != "d_out":
        return around_one(w, width)
    if fill == "tiny-values" and name == "v":
        return scaled(bell(w, width), -8)
    if fill == "denormal" and words(seed, CHOICES + stream, n)[0] % 4 == 0:
        x = flat(w, width)[0]
        return (x // 2 if x >= 0 else -(-x // 2)), SMALLEST[io]
    if fill == "ties" and name == "k":
        token = row % shape[2]
        source = row if token < 2 else row - token + words(seed, CHOICES, row)[0] % 2
        return bell(words(seed, stream, source * shape[3] + channel), width)
    if fill in FAR and channel == 0 and name in "qk":
        c, exponent = root_of_score(FAR[fill][0], shape[3])
        return (-c if name == "q" and fill != "large-positive" else c), exponent
    if fill == "zero-scores" and name == "q":
        return 0, 0
    if fill == "one-hot":
        return one_hot(seed, name, n, shape) if name in "qk" else small(w, 3)
    return small(w, 2) if fill in EXACT else bell(w, width)


def distinct(n, shape, w, width):
    count = math.prod(shape)
    each = max(count // (shape[0] if len(shape) == 3 else 1), 1)
    one = 1 << (width - 1)
    magnitude = one + (n % each * 37 + n // each * 11) * (one // 128) % one
    return (-magnitude if w[0] >> 31 else magnitude), 1 - width


def linear(fill, name, n, shape, terms, identity, w, width):
    """An element of a kernel or mix that sums `terms` of them; `identity`: the place of the 1 of the identity."""
    before = name.startswith("pre.")
    if before and fill in FAR:
        return (1, 0) if identity else scaled(bell(w, width), FAR[fill][1])
    if before and fill == "one-hot":
        return (1, 0) if identity else scaled(small(w, 1), -3)
    if fill in EXACT or fill == "one-hot":
        return scaled(small_not_zero(w), -half_log(terms))
    if fill == "asymmetric":
        return scaled(distinct(n, shape, w, width), -half_log(terms))
    return scaled(bell(w, width), -half_log(terms))


def affine(fill, name, n, shape, w, width):
    """An element of norm.weight, gate.weight or gate.bias."""
    size = -half_log(shape[-1]) if name == "gate.weight" else 0
    if fill in EXACT or fill == "one-hot":
        return scaled(small_not_zero(w), size)
    if fill == "asymmetric":
        return scaled(distinct(n, shape, w, width), size)
    if name == "norm.weight":
        return around_one(w, width)
    return scaled(bell(w, width), size) if name == "gate.weight" else flat(w, width)


def element(fill, name, n, shape, config, seed, io):
    """Element n of a tensor, exactly."""
    w, width = words(seed, STREAMS.index(name), n), WIDTH[io]
    if name.endswith(".kernel"):
        side, keys = config[name.split(".")[0]], shape[2]
        left = {"both": (keys - 1) // 2, "left": keys - 1, "right": 0}[side.get("key_padding", "both")]
        taps = shape[1] * keys
        number = linear(fill, name, n, shape, taps, n % taps == (shape[1] - 1) * keys + left, w, width)
    elif name.endswith(".mix"):
        heads = shape[1]
        number = linear(fill, name, n, shape, heads, n % (heads * heads) % (heads + 1) == 0, w, width)
    elif "weight" in name or "bias" in name:
        number = affine(fill, name, n, shape, w, width)
    else:
        number = activation(fill, name, n, shape, seed, io)
    return math.ldexp(*number)


def tensor_shapes(config, batch, sequence):
    """{name: shape} of the inputs, in the order of checksums."""
    heads, dim = config["heads"], config["head_dim"]
    kv = config.get("kv_heads", heads)
    shapes = {"q": [batch, heads, sequence, dim], "k": [batch, kv, sequence, dim], "v": [batch, kv, sequence, dim]}
    for side in ("pre", "post"):
        stage = config.get(side, {})
        if "query_kernel" in stage:
            shapes[f"{side}.kernel"] = [heads, stage["query_kernel"], stage["key_kernel"]]
        if "mix_group" in stage:
            shapes[f"{side}.mix"] = [heads // stage["mix_group"], stage["mix_group"], stage["mix_group"]]
    if config.get("norm", "none") != "none":
        shapes["norm.weight"] = [dim]
    if config.get("gate", "none") != "none":
        gates = dim if config["gate"] == "vector" else 1
        shapes |= {"gate.weight": [gates, dim], "gate.bias": [gates]}
    return shapes | {"d_out": [batch, heads, sequence, dim]}
