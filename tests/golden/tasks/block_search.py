"""Samples of block search by a second implementation in plain Python, Philox included; writes block_search.txt.

SPDX-License-Identifier: MIT

Run: python tests/golden/tasks/block_search.py
Each line: variant letters query_letters blocks total_length seed split index text; a total_length of 0 is none.
"""

from pathlib import Path

MASK = 0xFFFFFFFF
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
HELD_OUT_OF = 16


def philox(counter, key):
    """Philox4x32-10 of four words under two (Salmon et al., SC 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(seed, stream):
    """The 32-bit words of a stream, one after the other."""
    block = 0
    while True:
        yield from philox((block & MASK, block >> 32, stream & MASK, stream >> 32), (seed & MASK, seed >> 32))
        block += 1


def below(bits, bound):
    """Uniform in [0, bound): words below 2^32 mod bound are passed over."""
    while (word := next(bits)) < 2**32 % bound:
        pass
    return word % bound


def draw(bits, letters, count):
    """`count` of the letters, in the order of drawing."""
    letters = list(letters)
    for n in range(count):
        m = n + below(bits, len(letters) - n)
        letters[n], letters[m] = letters[m], letters[n]
    return "".join(letters[:count])


def held_out(text):
    """Whether a text belongs to the test split."""
    value = 0xCBF29CE484222325
    for byte in text.encode("ascii"):
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return philox((value & MASK, value >> 32, 0, 0), (0, 0))[0] % HELD_OUT_OF == 0


def attempt(bits, variant, letters, query_letters, length):
    """One drawing: the text of blocks, the query, the answer."""
    target = draw(bits, ALPHABET, letters)
    query = draw(bits, target, query_letters)
    whole = (length + 1) // (letters + 1)
    place = below(bits, whole)
    blocks = []
    while len(".".join(blocks)) < length:
        if len(blocks) == place:
            blocks.append(target)
            continue
        block = draw(bits, ALPHABET, letters)
        while set(query) <= set(block) or block in blocks:
            block = draw(bits, ALPHABET, letters)
        blocks.append(block)
    return ".".join(blocks)[:length], query, {"all": target, "first": target[0], "last": target[-1]}[variant]


def sample(variant, letters, query_letters, blocks, total, seed, split, index):
    """The whole text of one sample."""
    answer_letters = letters if variant == "all" else 1
    length = total - answer_letters - query_letters - 1 if total else blocks * (letters + 1) - 1
    bits = words(seed, 0xB10C << 48 | (split == "test") << 40 | index)
    while True:
        text, query, answer = attempt(bits, variant, letters, query_letters, length)
        if held_out(text) == (split == "test"):
            return f"{text}#{query}{answer}"


CASES = [
    ("all", 5, 2, 8, 0, 0, "train", 0), ("all", 5, 2, 8, 0, 0, "train", 1), ("all", 5, 2, 8, 0, 0, "test", 0),
    ("all", 5, 2, 8, 0, 1, "train", 0), ("all", 5, 2, 8, 0, 2**64 - 1, "test", 2**40 - 1),
    ("first", 5, 2, 8, 0, 0, "train", 0), ("last", 5, 2, 8, 0, 0, "train", 0), ("last", 5, 2, 8, 0, 7, "test", 12345),
    ("all", 8, 2, 4, 0, 3, "train", 2), ("all", 8, 3, 6, 0, 4, "train", 3), ("first", 3, 1, 12, 0, 5, "test", 4),
    ("all", 2, 1, 1, 0, 6, "train", 5), ("all", 26, 25, 1, 0, 6, "test", 6), ("all", 12, 2, 3, 0, 8, "train", 7),
    ("all", 5, 2, 0, 319, 42, "train", 0), ("all", 5, 2, 0, 319, 42, "test", 999), ("all", 8, 2, 0, 319, 42, "train", 1),
    ("first", 5, 2, 0, 319, 42, "train", 2), ("last", 8, 2, 0, 319, 42, "test", 3), ("all", 5, 2, 0, 56, 9, "train", 8),
    ("all", 5, 2, 0, 57, 9, "train", 9),
]


def main():
    lines = [" ".join(map(str, case)) + " " + sample(*case) for case in CASES]
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
