"""Configurations that mta-oracle must refuse.

SPDX-License-Identifier: MIT
"""

SIZE = '"heads": 2, "head_dim": 4'
CONV = '"query_kernel": 2, "key_kernel": 9'
EVAL = ["eval", "--config", "bad.json", "--in", "in.safetensors", "--out", "new"]

# (text, exit code, what the sentence says); {} around it, and heads and head_dim before it, where it begins with a comma
CONFIGURATIONS = [
    ("[]", 2, "got [], expected an object"),
    ("8", 2, "got 8, expected an object"),
    ('"heads"', 2, "expected an object"),
    ("{}", 2, "heads: got none, expected an integer"),
    ('{"heads": 2}', 2, "head_dim: got none, expected an integer"),
    ('{"head": 2, "head_dim": 4}', 2, "unknown key 'head', the nearest known is 'heads'"),
    ('{"heads": 8.0, "head_dim": 4}', 2, "heads: got 8.0, expected an integer"),
    ('{"heads": true, "head_dim": 4}', 2, "heads: got true, expected an integer"),
    ('{"heads": "8", "head_dim": 4}', 2, 'heads: got "8", expected an integer'),
    ('{"heads": null, "head_dim": 4}', 2, "heads: got null, expected an integer"),
    ('{"heads": 0, "head_dim": 4}', 2, "heads: got 0, expected at least 1"),
    ('{"heads": -2, "head_dim": 4}', 2, "heads: got -2, expected at least 1"),
    ('{"heads": 2, "head_dim": 0}', 2, "head_dim: got 0, expected at least 1"),
    ('{"heads": 9223372036854775807, "head_dim": 4}', 2, "heads: got 9223372036854775807, expected an integer from"),
    ('{"heads": 18446744073709551615, "head_dim": 4}', 2, "heads: got 18446744073709551615, expected"),
    ('{"heads": 99999999999999999999, "head_dim": 4}', 2, "heads: got 1e+20, expected an integer"),
    ('{"heads": 1099511627776, "head_dim": 1099511627776}', 2, "tensor 'q': got shape"),
    ('{"heads": 2, "heads": 2, "head_dim": 4}', 3, "got the key 'heads' twice"),
    (', "masks": "twice"', 2, "unknown key 'masks', the nearest known is 'mask'"),
    (', "Gate": "scalar"', 2, "unknown key 'Gate', the nearest known is 'gate'"),
    (', "mask": "twise"', 2, 'mask: got "twise", expected one of twice, exact, none'),
    (', "gate": "scaler"', 2, 'gate: got "scaler", expected one of none, scalar, vector'),
    (', "norm": "layer_norm"', 2, "expected one of none, rms, rms_depth, rms_layer"),
    (', "normalise": 3', 2, "normalise: got 3, expected one of softmax, sparsemax"),
    (', "mask": "a\\nb\\u001b[2J\\u009b"', 2, "mask: got"),
    (', "a\\nb\\u001b[2J": 1', 2, "unknown key 'a\\x0ab\\x1b[2J'"),
    (', "kv_heads": 3', 2, "kv_heads: got 3, expected a divisor of the 2 heads"),
    (', "eps": -1e-5', 2, "eps: got -1e-05, expected a number >= 0"),
    (', "eps": "small"', 2, 'eps: got "small", expected a number'),
    (', "scale": null', 2, "scale: got null, expected a number"),
    (', "layer_index": -1', 2, "layer_index: got -1"),
    (', "layer_index": 0.5', 2, "layer_index: got 0.5, expected an integer"),
    (', "pre": {"query_kernel": 2}', 2, "pre: got query_kernel 2 and key_kernel 0, expected both or neither"),
    (', "post": {"key_kernel": 3}', 2, "post: got query_kernel 0 and key_kernel 3, expected both or neither"),
    (', "pre": {"query_kernel": 2, "key_kernel": 8}', 2, "pre.key_kernel: got 8, expected an odd extent"),
    (', "pre": {"query_kernel": 0, "key_kernel": 9}', 2, "query_kernel: got 0, expected at least 1"),
    (', "pre": {"mix_group": 4}', 2, "pre.mix_group: got 4, expected a divisor of the 2 heads"),
    (', "pre": {"mixgroup": 2}', 2, "pre: unknown key 'mixgroup', the nearest known is 'mix_group'"),
    (', "pre": [2, 9]', 2, "pre: got [2,9], expected an object"),
    (', "pre": {"query_kernel": 1099511627776, "key_kernel": 1099511627775}', 2, "tensor 'pre.kernel': got shape"),
    (f', "pre": {{{CONV}, "key_padding": "center"}}', 2, 'key_padding: got "center", expected one of both, left, right'),
    (', "document_starts": []', 2, "document_starts: got [], expected a list"),
    (', "document_starts": 0', 2, "document_starts: got 0, expected a list"),
    (', "document_starts": [[]]', 2, "document starts: got [], expected a list that begins with 0"),
    (', "document_starts": [1, 5]', 2, "document starts: got [1, 5], expected a list that begins with 0"),
    (', "document_starts": [0, 5, 3]', 2, "document starts: got [0, 5, 3], expected strictly increasing"),
    (', "document_starts": [0, 5, 5]', 2, "expected strictly increasing"),
    (', "document_starts": [0, 10]', 2, "expected all below the sequence length 10"),
    (', "document_starts": [0, -1]', 2, "expected strictly increasing"),
    (', "document_starts": [[0], [0], [0]]', 2, "got 3 lists, expected 1 or one per batch row, 1"),
    (', "document_starts": [[0], 3]', 2, "document_starts: got 3, expected a list of starts"),
    (', "document_starts": [0, 4.0]', 2, "document_starts: got 4.0, expected an integer"),
]

# What is no JSON, or more than one reading of it.
HOSTILE = [
    (b"", "at byte "),
    (b" \n", "at byte "),
    (b"\x00", "NUL byte"),
    (b"\xef\xbb\xbf{}", "byte order mark"),
    (b'{"heads": 2, "head_dim": 4}\x00', "NUL byte"),
    (b'{"heads": 2, "head_dim": 4} {}', "at byte "),
    (b'{"heads": 2, "head_dim": 4,}', "at byte "),
    (b'{"heads": 2, /* two */ "head_dim": 4}', "at byte "),
    (b"{'heads': 2, 'head_dim': 4}", "at byte "),
    (b'{"heads": 2, "head_dim": 4, "\xff": 1}', "not UTF-8"),
    (b'{"heads": 2, "head_dim": 4, "eps": NaN}', "at byte "),
    (b'{"heads": 2, "head_dim": 4, "scale": Infinity}', "at byte "),
    (b'{"heads": 2, "head_dim": 4, "scale": -Infinity}', "at byte "),
    (b'{"heads": 2, "head_dim": 4, "scale": 1e999}', "got the number '1e999', expected one that a double can hold"),
    (b'{"heads": 2, "head_dim": 4, "scale": -1e999}', "'-1e999'"),
    (b'{"heads": 2, "head_dim": 4, "pre": {"query_kernel": 1, "query_kernel": 2}}', "'query_kernel' twice"),
    (b'{"heads": 2, "head_dim": 4, "h\\u0065ads": 3}', "'heads' twice"),
    (b"[" * 100000, "nesting deeper than 32 levels"),
    (b'{"a":' * 100000, "nesting deeper than 32 levels"),
    (b'{"heads": ' + b"9" * 1000000 + b', "head_dim": 4}', "got the number '999"),
    (b" " * (1 << 24) + b"{}", "expected at most 16777216"),
    (b"{\x00}\x00", "NUL byte"),
    ('{"heads": 2}'.encode("utf-16"), "NUL byte"),
]


def configurations(harness):
    """Well-formed JSON that says something it must not."""
    for text, code, says in CONFIGURATIONS:
        if text.startswith(","):
            conv = "" if '"pre"' in text else f', "pre": {{{CONV}}}'
            text = f"{{{SIZE}{conv}{text}}}"
        harness.file("bad.json", text)
        harness.expect(code, EVAL, says)
    harness.file("bad\nname.json", "{}")
    harness.expect(2, [*EVAL[:2], "bad\nname.json", *EVAL[3:]], "bad\\x0aname.json: heads: got none")


def hostile_json(harness):
    """Text that is no JSON: exit code 3, whatever it is; and a good configuration cut at every byte."""
    for content, says in HOSTILE:
        harness.file("bad.json", content)
        harness.expect(3, EVAL, says)
    whole = (harness.folder / "c.json").read_bytes().rstrip()
    for size in range(len(whole)):
        harness.file("bad.json", whole[:size])
        harness.expect(3, EVAL, "bad.json: got text that does not fit at byte ")
