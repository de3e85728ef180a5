"""Kills train-block-search a hundred times and expects the bits of a run that nobody disturbed.

SPDX-License-Identifier: MIT

Run: python3 tests/train/kill.py PROGRAM [KILLS]

After every kill -9 the checkpoint is read by the few lines below, which share nothing with the program: it must be
whole, and never of an earlier step than before. Then come Ctrl-C, a full disk, a second trainer, and bad input: exit
code, one sentence, nothing lost.
"""

import json
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

STEPS = 400
TINY = ("--layers 1 --heads 2 --width 8 --hidden 8 --letters 3 --blocks 2 --batch 2 --validate-every 50 "
        "--validation-samples 4 --dropout 0.1 --threads 1").split() + ["--steps", str(STEPS)]


class Program:
    """The program under test in one scratch folder."""

    def __init__(self, path, folder):
        self.path, self.folder = path, Path(folder)

    def command(self, run, *options, config=TINY):
        return [self.path, "--run", str(self.folder / run), *config, *options]

    def start(self, run, *options, config=TINY, limit=None):
        """The process; `limit`: most bytes of any file it writes."""
        def prepare():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(self.command(run, *options, config=config), stderr=subprocess.PIPE, text=True,
                                preexec_fn=prepare)

    def finish(self, run, *options, **more):
        """(exit code, standard error)."""
        process = self.start(run, *options, **more)
        _, error = process.communicate(timeout=120)
        return process.returncode, error


def expect(condition, *said):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in said))


def read_checkpoint(path):
    """The step of a checkpoint file, after its structure and its checksum were found right."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__")
    expect(max(t["data_offsets"][1] for t in header.values()) == len(data) - 8 - size, path, "has another length")
    blank = re.sub(rb'"crc32":"[0-9a-f]{8}"', b'"crc32":"00000000"', data, count=1)
    expect(f"{zlib.crc32(blank):08x}" == metadata["crc32"], path, "is damaged")
    return json.loads(metadata["progress"])["step"]


def timeless(path):
    """The metrics without what a clock says."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "tokens_per_second")} for line in lines]


def expect_same_run(program, run):
    """Whether the finished run is, bit for bit, the undisturbed one."""
    folder, whole = program.folder / run, program.folder / "whole"
    expect((folder / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes(),
           run, "ended with another checkpoint than an undisturbed run")
    expect(timeless(folder / "metrics.jsonl") == timeless(whole / "metrics.jsonl"), run, "ended with other metrics")
    expect(sorted(path.name for path in folder.iterdir()) == ["checkpoint.safetensors", "config.json", "metrics.jsonl"],
           run, "holds other files:", list(folder.iterdir()))


def kill_once(program, run, delay, every):
    """Starts a session and kills it; whether it had finished by itself."""
    process = program.start(run, "--quiet", "--checkpoint-every", str(every))
    try:
        _, error = process.communicate(timeout=delay)
        expect(process.returncode == 0, f"exit code {process.returncode}:", error)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False


def kills(program, count, length):
    """`count` kills at random moments, over as many runs as finish meanwhile; says what they met."""
    rng = random.Random(20250401)
    killed = runs = temporary = steps = last = 0
    while killed < count:
        run = f"killed{runs}"
        finished = kill_once(program, run, rng.uniform(0, length), rng.choice((1, 3, 20)))
        killed += not finished
        checkpoint = program.folder / run / "checkpoint.safetensors"
        if checkpoint.exists() or last > 0:
            step = read_checkpoint(checkpoint)
            expect(step >= last, "step", step, "after step", last)
            steps, last = steps + step - last, step
        if (program.folder / run).exists():
            temporary += sum(".tmp-" in path.name for path in (program.folder / run).iterdir())
        if finished:
            expect_same_run(program, run)
            runs, last = runs + 1, 0
    expect(program.finish(f"killed{runs}", "--quiet")[0] == 0, "the last run does not go on")
    expect_same_run(program, f"killed{runs}")
    expect(steps > 0, "no session came further than its start")
    print(f"kill: {killed} kills over {runs + 1} runs, {steps} steps saved by killed sessions, "
          f"{temporary} temporary files left and cleaned")


def line_count(program, run):
    path = program.folder / run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(program, run, process, more):
    """Waits until the process, or its end, has added so many lines to the run's metrics."""
    lines, end = line_count(program, run) + more, time.monotonic() + 60
    while line_count(program, run) < lines and process.poll() is None:
        expect(time.monotonic() < end, run, "wrote no", more, "lines within a minute")
        time.sleep(0.001)


def interrupt_once(program, run, kind):
    """Sends the signal to a session under way; the step that was saved."""
    process = program.start(run)
    wait_for_lines(program, run, process, more=3)
    process.send_signal(kind)
    _, error = process.communicate(timeout=60)
    step = read_checkpoint(program.folder / run / "checkpoint.safetensors")
    expect(timeless(program.folder / run / "metrics.jsonl")[-1]["step"] == step, "metrics end elsewhere")
    if step < STEPS:  # else it was faster than the signal
        expect(process.returncode == 130, kind.name, "gave exit code", process.returncode, error)
        expect(f"interrupted: step {step} is saved in " in error, error)
    return step


def interrupts(program):
    """Ctrl-C and SIGTERM save at the step's end and exit with 130; a resumed run ends with the same bits."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        run, interrupted, tries = f"{kind.name}0", 0, 0
        while interrupted < 3:
            tries += 1
            expect(tries < 30, kind.name, "never came before the end")
            if interrupt_once(program, run, kind) < STEPS:
                interrupted += 1
            else:
                run = f"{kind.name}{tries}"
        expect(program.finish(run)[0] == 0, run, "does not go on")
        expect_same_run(program, run)


def full_disk(program):
    """A file that cannot grow: a sentence, exit code 3, and the checkpoint from before goes on."""
    code, error = program.finish("full", "--seconds", "1e-9")
    expect(code == 0 and "out of time: step 1 is saved in " in error, code, error)
    checkpoint = program.folder / "full/checkpoint.safetensors"
    before = checkpoint.read_bytes()
    code, error = program.finish("full", "--quiet", limit=len(before) // 2)
    expect(code == 3 and re.fullmatch(r"train-block-search: cannot write \S+: File too large\n", error), code, error)
    expect(checkpoint.read_bytes() == before, "a full disk changed the checkpoint")
    expect(program.finish("full")[0] == 0, "the run does not go on")
    expect_same_run(program, "full")
    code, error = program.finish("none", "--quiet", limit=1000)
    expect(code == 3 and error.count("\n") == 1, code, error)


def second_trainer(program):
    process = program.start("locked", "--steps", "1000000")
    wait_for_lines(program, "locked", process, 1)
    code, error = program.finish("locked")
    process.kill()
    process.communicate()
    expect(code == 3 and "another program is training here" in error, code, error)


def bad_input(program):
    """Every one a sentence and an exit code; the finished run stays as it is."""
    folder = program.folder
    damaged = folder / "damaged"
    damaged.mkdir()
    data = bytearray((folder / "whole/checkpoint.safetensors").read_bytes())
    data[-3] ^= 16
    (damaged / "checkpoint.safetensors").write_bytes(data)
    cases = [
        (("whole", "--steps", "401"), {}, 3, "training.steps: got 400, expected 401"),
        (("whole", "--width", "16"), {}, 3, "model.width: got 8, expected 16"),
        (("whole", "--double"), {}, 3, "precision: got \"float32\", expected \"float64\""),
        (("damaged",), {}, 3, "(the file is damaged)"),
        (("no/where",), {}, 3, "cannot make the folder"),
        (("nowhere", "--resume"), {"config": []}, 3, "got no such folder, expected the run to resume"),
        (("whole", "--resume"), {"config": ["--width", "16"]}, 2, "--resume: got --width beside it"),
        (("new", "--heads", "3"), {}, 2, "decoder: width: got 8"),
        (("new", "--query-letters", "3"), {}, 2, "block_search: query_letters: got 3"),
        (("new", "--attention", "standard", "--post"), {}, 2, "--attention standard: got options of kernels"),
        (("new", "--widht", "3"), {}, 2, "the nearest known is '--width'"),
        (("steep", "--lr", "1e38", "--clip", "0"), {}, 1, "expected a finite number; the step changed nothing"),
    ]
    for arguments, more, expected, part in cases:
        code, error = program.finish(arguments[0], "--quiet", *arguments[1:], **more)
        expect(code == expected and part in error and error.count("\n") == 1, arguments, "gave", code, error)
    expect(not (folder / "new").exists(), "a command line that cannot work left a folder behind")
    read_checkpoint(folder / "steep/checkpoint.safetensors")
    expect(program.finish("whole", "--resume", "--quiet", config=[]) == (0, ""), "a finished run does not resume")
    expect_same_run(program, "whole")


def main():
    with tempfile.TemporaryDirectory(prefix="mta_kill_") as folder:
        program = Program(sys.argv[1], folder)
        began = time.monotonic()
        code, error = program.finish("whole", "--checkpoint-every", "20")
        expect(code == 0, error)
        length = time.monotonic() - began
        expect_same_run(program, "whole")
        kills(program, int(sys.argv[2]) if len(sys.argv) > 2 else 100, length)
        interrupts(program)
        full_disk(program)
        second_trainer(program)
        bad_input(program)
        print(f"kill: all as expected, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
