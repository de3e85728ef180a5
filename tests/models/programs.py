"""Holds generate and plot-attention to their command lines: python3 tests/models/programs.py FOLDER_OF_PROGRAMS

SPDX-License-Identifier: MIT

Trains a tiny model with train-block-search first. An error is one line on standard error that begins with the program's
name, with exit code 2 or 3, and a run that fails leaves no file. Only the Python standard library is needed. Exit
status: 0 every run was as expected, 1 something was not, 2 usage.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

TASK = ["--letters", "3", "--query-letters", "1", "--blocks", "2", "--variant", "first"]
MODEL = ["--layers", "2", "--heads", "2", "--width", "16", "--hidden", "16", "--post", "--mix-group", "2"]
TRAINING = ["--steps", "300", "--lr", "1e-2", "--batch", "32", "--validate-every", "100", "--validation-samples", "256"]
PNG = b"\x89PNG\r\n\x1a\n"


class Programs:
    """The programs, a folder to run them in, and what went wrong so far."""

    def __init__(self, programs, folder):
        self.programs, self.folder = Path(programs).resolve(), folder
        self.runs, self.failures = 0, []
        self.environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "LC_ALL": "C"}

    def expect(self, code, program, arguments, says=(), stdout=subprocess.PIPE):
        """Runs the program and judges it; returns what it printed."""
        self.runs += 1
        before = sorted(self.folder.rglob("*"))
        process = subprocess.run([self.programs / program, *arguments], cwd=self.folder, env=self.environment,
                                 stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, errors="replace",
                                 timeout=300, check=False)
        printed, error = process.stdout or "", process.stderr
        complaints = []
        if process.returncode != code:
            complaints.append(f"got exit code {process.returncode}, expected {code}")
        if code and not re.fullmatch(rf"{program}: [^\n\x00-\x1f\x7f]+\n", error):
            complaints.append("expected one line on standard error that begins with the program's name")
        if code and sorted(self.folder.rglob("*")) != before:
            complaints.append("got other files than before, expected none")
        for part in (says,) if isinstance(says, str) else says:
            if part not in printed + error:
                complaints.append(f"expected it to say {part!r}")
        self.failures += [f"{program} {' '.join(arguments)}: {complaint}; it said {(error or printed)[-300:]!r}"
                          for complaint in complaints]
        return printed

    def check(self, good, sentence):
        if not good:
            self.failures.append(sentence)

    def pictures(self, folder):
        """Names of the pictures in a folder; all must be PNG files."""
        names = sorted(path.name for path in (self.folder / folder).iterdir())
        for name in names:
            self.check((self.folder / folder / name).read_bytes().startswith(PNG), f"{folder}/{name}: got no PNG file")
        return names


def train(p):
    """A run that is half trained: some answers are right and some are wrong."""
    p.expect(0, "train-block-search", ["--run", "run", *TASK, *MODEL, *TRAINING, "--threads", "1", "--quiet"])
    lines = [json.loads(line) for line in (p.folder / "run/metrics.jsonl").read_text().splitlines()]
    return [line["validation"]["sequence_error"] for line in lines if "validation" in line][-1]


def generation(p, error):
    """Greedy answers are wrong as often as training measured; draws repeat; prompts stand alone."""
    p.check(0 < error < 1, f"training ended with a sequence error of {error}, expected one between 0 and 1")
    right = 256 - round(256 * error)
    for more in ([], ["--reference"]):
        p.expect(0, "generate", ["--checkpoint", "run", "--samples", "256", "--greedy", *more],
                 f"256 prompts, {right} of 256 right; greedy; run/checkpoint.safetensors, step 300\n")
    draw = ["--checkpoint", "run/checkpoint.safetensors", "--temperature", "1.5", "--top-k", "9", "--top-p", "0.9"]
    once = p.expect(0, "generate", [*draw, "--samples", "70"], "temperature 1.5, top-k 9, top-p 0.9")
    p.check(once == p.expect(0, "generate", [*draw, "--samples", "70"]), "generate: got two answers to one seed")
    p.check(once != p.expect(0, "generate", [*draw, "--samples", "70", "--seed", "2"]), "generate: --seed changes nothing")
    typed = ["--prompt", "abc.def#e", "--prompt", "abc.def.ghi#x", "--prompt", "nop", "--count", "1"]
    p.expect(0, "generate", ["--checkpoint", "run", *typed],
             ("prompt        abc.def#e\n", "expected      d  ", "not exactly one block holds a query after #", "3 prompts, ", " of 1 right"))


def plots(p):
    """Which pictures there are, and that choices leave the others out."""
    p.expect(0, "plot-attention", ["--checkpoint", "run", "--runs", "run", "--out", "all"], "all/loss_steps.png\n")
    names = p.pictures("all")
    maps = ("weights_before_mixing", "weights", "weights_after_mixing", "pre_kernel", "post_kernel")
    expected = [f"layer{layer}_head{head}_{what}.png" for layer in (0, 1) for head in (0, 1) for what in maps]
    expected += [f"layer{layer}_group0_{side}_mix.png" for layer in (0, 1) for side in ("pre", "post")]
    expected += [f"{what}_{axis}.png" for what in ("loss", "sequence_error", "token_error") for axis in ("seconds", "steps")]
    p.check(names == sorted(expected), f"plot-attention: got {names}, expected {sorted(expected)}")
    p.expect(0, "plot-attention", ["--untrained", "--kernel-init", "normal", "--layers", "1", "--heads", "0", "--prompt",
                                   "abcde#ab", "--out", "some"])
    chosen = [f"layer1_head0_{what}.png" for what in ("pre_kernel", "weights", "weights_before_mixing")]
    p.check(p.pictures("some") == chosen, f"plot-attention: got {p.pictures('some')}, expected {chosen}")
    whole = (p.folder / "run/metrics.jsonl").read_text()
    (p.folder / "killed.jsonl").write_text(whole + whole.splitlines()[-1][:30])
    p.expect(0, "plot-attention", ["--runs", "killed.jsonl", "run", "--linear", "--out", "curves"])
    p.check(len(p.pictures("curves")) == 6, f"plot-attention: got {p.pictures('curves')}, expected six curves")


def bad_command_lines(p):
    generate = lambda says, *arguments: p.expect(2, "generate", arguments, says)  # noqa: E731
    run = ("--checkpoint", "run")
    generate("--checkpoint is required")
    generate("'--promt', the nearest known is '--prompt'", *run, "--promt", "a")
    generate("character 4: got 'A', expected one of a to z", *run, "--prompt", "abc.A")
    generate("--prompt", *run, "--prompt", "")
    generate("character 1: got", *run, "--prompt", "a\x1b[2J\n")
    generate("top_p: got 1.5, expected above 0 and at most 1", *run, "--top-p", "1.5")
    generate("temperature: got nan, expected finite and at least 0", *run, "--temperature", "nan")
    generate("top_k: got -3", *run, "--top-k", "-3")
    generate("--greedy excludes", *run, "--greedy", "--top-k", "3")
    generate("--count", *run, "--count", "0")
    generate("--samples", *run, "--samples", "0")
    plot = lambda says, *arguments: p.expect(2, "plot-attention", arguments, says)  # noqa: E731
    plot("--out is required", "--untrained")
    plot("expected --checkpoint, --untrained or --runs", "--out", "new")
    plot("--layers: got 2, expected from 0 to 1", *run, "--out", "new", "--layers", "2")
    plot("--heads: got 7, expected from 0 to 1", *run, "--out", "new", "--heads", "0", "7")
    plot("--heads", *run, "--out", "new", "--heads", "-1")
    plot("excludes", *run, "--untrained", "--out", "new")
    plot("--seed requires --untrained", *run, "--seed", "3", "--out", "new")
    plot("character 0: got 'A'", *run, "--out", "new", "--prompt", "A")
    plot("got 1025 characters, expected at most 1024", *run, "--out", "new", "--prompt", "a" * 1025)


def with_header(content, change):
    """The safetensors file with its metadata changed, and its checksum taken out, as another tool would write it."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + size])
    header["__metadata__"].pop("crc32")
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size:]


def bad_files(p):
    def other_vocabulary(metadata):
        metadata["model"] = metadata["model"].replace('"vocabulary":32', '"vocabulary":99')

    def impossible(metadata):
        metadata["task"] = metadata["task"].replace('"query_letters":1', '"query_letters":3')

    content = (p.folder / "run/checkpoint.safetensors").read_bytes()
    flipped = bytearray(content)
    flipped[-9] ^= 1
    files = {"cut.safetensors": (content[:-100], "cut.safetensors: "), "flipped.safetensors": (bytes(flipped), "checksum"),
             "empty.safetensors": (b"", "empty.safetensors: "),
             "words.safetensors": (with_header(content, other_vocabulary), "model.vocabulary: got 99, expected 32"),
             "task.safetensors": (with_header(content, impossible), "query_letters: got 3"),
             "none.safetensors": (with_header(content, lambda metadata: metadata.pop("task")), "got no task")}
    for name, (damaged, says) in files.items():
        (p.folder / name).write_bytes(damaged)
        p.expect(3, "generate", ["--checkpoint", name], says)
        p.expect(3, "plot-attention", ["--checkpoint", name, "--out", "new"], says)
    p.expect(3, "generate", ["--checkpoint", "absent"], "cannot read absent: No such file or directory")
    p.expect(3, "plot-attention", ["--untrained", "--out", "absent/new"], "absent/new: No such file or directory")
    p.expect(3, "plot-attention", ["--untrained", "--out", "cut.safetensors"], "cannot make the folder")
    for name, text in (("words.jsonl", "step 1\n"), ("list.jsonl", "[1]\n"), ("short.jsonl", '{"step":1}\n'),
                       ("blank.jsonl", ""), ("odd.jsonl", '{"step":1,"seconds":1,"validation":3}\n')):
        (p.folder / name).write_text(text)
        p.expect(3, "plot-attention", ["--runs", "run", name, "--out", "new"], name)
    if Path("/dev/full").exists():
        with open("/dev/full", "w", encoding="utf-8") as full:
            p.expect(3, "generate", ["--checkpoint", "run"], "standard output", stdout=full)


def main():
    if len(sys.argv) != 2:
        print("usage: programs.py FOLDER_OF_PROGRAMS", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        p = Programs(sys.argv[1], Path(folder))
        generation(p, train(p))
        plots(p)
        bad_command_lines(p)
        bad_files(p)
    for failure in p.failures:
        print(failure)
    print(f"programs.py: {p.runs} runs, {len(p.failures)} not as expected")
    return 1 if p.failures else 0


if __name__ == "__main__":
    sys.exit(main())
