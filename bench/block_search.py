"""All training runs of docs/block-search.md, one after another, across sittings: python3 bench/block_search.py [OPTIONS] [SET ...]

SPDX-License-Identifier: MIT

Sets: main (variants all, first and last, multi-token and standard attention, three seeds each), sweep (layers and widths, one
seed). Every run is a folder of train-block-search below --runs; what is finished is skipped, what was interrupted goes on, so
that the command may be given again after a Ctrl-C or a power cut. --table prints what there is and trains nothing; options
after `--` go to every run. Needs the program,
    cmake --preset bench && cmake --build build/bench --target train-block-search
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ATTENTIONS = ("mta", "standard")
VARIANTS = ("all", "first", "last")
LAYERS, WIDTHS = (1, 2, 4), (64, 128, 256)
INTERRUPTED = 130


def main_runs(seeds):
    """{folder name: options}, the seeds of one setting beside each other's."""
    return {f"{variant}-{attention}-seed{seed}": ["--variant", variant, "--attention", attention, "--seed", str(seed)]
            for variant in VARIANTS for seed in seeds for attention in ATTENTIONS}


def sweep_runs(steps):
    return {f"sweep-{layers}x{width}-{attention}": [
        "--attention", attention, "--seed", "1", "--layers", str(layers), "--width", str(width),
        "--hidden", str(4 * width), "--steps", str(steps)]
        for layers in LAYERS for width in WIDTHS for attention in ATTENTIONS}


def validations(folder):
    """[(step, seconds, sequence error)] of a run, none when it has not begun."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [(e["step"], e["seconds"], e["validation"]["sequence_error"]) for e in lines if "validation" in e]


def steps_of(folder):
    return json.loads((folder / "config.json").read_text())["training"]["steps"]


def finished(folder):
    done = validations(folder)
    return bool(done) and done[-1][0] == steps_of(folder)


def train(options, runs):
    """False when interrupted or out of time."""
    begin = time.monotonic()
    for number, (name, arguments) in enumerate(runs.items(), start=1):
        folder = options.runs / name
        done = finished(folder)  # the program still has a word: it refuses a folder of other options
        if options.budget and time.monotonic() - begin > options.budget:
            return False
        command = [options.program, "--run", str(folder), *arguments, *options.extra, *(["--quiet"] if done else [])]
        if not done:
            print(f"[{number}/{len(runs)}] {name}", flush=True)
        child = subprocess.Popen(command)
        try:
            status = child.wait()
        except KeyboardInterrupt:  # the child got it too, saves and ends
            status = child.wait()
        if status == INTERRUPTED or status == -signal.SIGINT:
            return False
        if status != 0:
            raise SystemExit(f"block_search: {name}: train-block-search ended with {status}, expected 0")
    return True


def percent(error):
    return f"{100 * error:.1f}"


def error_at(points, seconds):
    """The error of the last validation within so many seconds."""
    within = [error for _, at, error in points if at <= seconds]
    return within[-1] if within else 1.0


def print_main(options):
    print("| variant | attention | median of sequence errors, % | seeds | steps | seconds of training |\n|---|---|---|---|---|---|")
    for variant in VARIANTS:
        for attention in ATTENTIONS:
            folders = [options.runs / f"{variant}-{attention}-seed{seed}" for seed in options.seeds]
            ends = [validations(folder)[-1] for folder in folders if finished(folder)]
            if not ends:
                continue
            errors = [error for _, _, error in ends]
            print(f"| {variant} | {attention} | {percent(statistics.median(errors))} | "
                  f"{', '.join(percent(e) for e in errors)} | {ends[0][0]} | "
                  f"{', '.join(f'{seconds:.0f}' for _, seconds, _ in ends)} |")
    for seed in options.seeds:
        mta, standard = (validations(options.runs / f"all-{attention}-seed{seed}") for attention in ATTENTIONS)
        if mta and standard and standard[-1][1] >= mta[-1][1]:
            end = mta[-1][1]
            print(f"seed {seed}, variant all, after {end:.0f} s of training: mta {percent(mta[-1][2])} %, "
                  f"standard {percent(error_at(standard, end))} %")


def print_sweep(options):
    print("| layers | " + " | ".join(f"width {w}: mta, standard, %" for w in WIDTHS) + " |")
    print("|---" * (1 + len(WIDTHS)) + "|")
    for layers in LAYERS:
        cells = []
        for width in WIDTHS:
            folders = [options.runs / f"sweep-{layers}x{width}-{attention}" for attention in ATTENTIONS]
            cells.append(", ".join(percent(validations(f)[-1][2]) if finished(f) else "-" for f in folders))
        print(f"| {layers} | " + " | ".join(cells) + " |")


def main():
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[:own.index("--")], own[own.index("--") + 1:]
    parser = argparse.ArgumentParser(description="Trains all runs of the block-search page, or goes on with them.")
    parser.add_argument("sets", nargs="*", metavar="SET", help="main, sweep; default: both")
    parser.add_argument("--program", default=str(ROOT / "build/bench/bin/train-block-search"))
    parser.add_argument("--runs", type=Path, default=ROOT / "build/block_search", help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sweep-steps", type=int, default=3000)
    parser.add_argument("--budget", type=float, help="begin no run after so many seconds")
    parser.add_argument("--table", action="store_true", help="print the results so far and train nothing")
    options = parser.parse_args(own)
    options.extra = extra
    options.sets = options.sets or ["main", "sweep"]
    unknown = [name for name in options.sets if name not in ("main", "sweep")]
    if unknown:
        parser.error(f"got the set {unknown[0]}, expected main or sweep")
    runs = {}
    if "main" in options.sets:
        runs |= main_runs(options.seeds)
    if "sweep" in options.sets:
        runs |= sweep_runs(options.sweep_steps)
    complete = True
    if not options.table:
        options.runs.mkdir(parents=True, exist_ok=True)
        complete = train(options, runs)
    if "main" in options.sets:
        print_main(options)
    if "sweep" in options.sets:
        print_sweep(options)
    return 0 if complete else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
