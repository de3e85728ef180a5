"""All training runs of docs/block-search.md, one after another, across sittings: python3 bench/block_search.py [OPTIONS] [SET ...]

SPDX-License-Identifier: MIT

Sets: main (variants all, first and last, multi-token and standard attention, three seeds each), kernel (other query kernels
and depths), sweep (layers and widths, one seed). Every run is a folder of train-block-search below --runs; what is finished is
skipped, what was interrupted goes on, so that the command may be given again after a Ctrl-C or a power cut. --table prints what
there is and trains nothing; options after `--` go to every run. Needs the program,
    cmake --preset bench && cmake --build build/bench --target train-block-search
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ATTENTIONS = ("mta", "standard")
VARIANTS = ("all", "first", "last")
KERNELS = ((2, 2, [1]), (2, 3, [1]), (2, 6, [1]), (3, 2, [1, 2, 3]))  # layers, query kernel, seeds; the preset is in main
LAYERS, WIDTHS = (1, 2, 4), (64, 128, 256)
INTERRUPTED = 130


def main_runs(seeds):
    """{folder name: options}, the seeds of one setting beside each other's."""
    return {f"{variant}-{attention}-seed{seed}": ["--variant", variant, "--attention", attention, "--seed", str(seed)]
            for variant in VARIANTS for seed in seeds for attention in ATTENTIONS}


def kernel_folder(layers, kernel, seed):
    return f"kernel-{kernel}-layers-{layers}-seed{seed}"


def kernel_runs():
    return {kernel_folder(layers, kernel, seed): [
        "--variant", "all", "--attention", "mta", "--seed", str(seed), "--query-kernel", str(kernel), "--layers", str(layers)]
        for layers, kernel, seeds in KERNELS for seed in seeds}


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
    begin, stop = time.monotonic(), threading.Event()
    quiet = ["--quiet"] if options.jobs > 1 else []

    def one(numbered):
        number, (name, arguments) = numbered
        folder = options.runs / name
        done = finished(folder)  # the program still has a word: it refuses a folder of other options
        if stop.is_set() or (options.budget and time.monotonic() - begin > options.budget):
            return False
        if not done:
            print(f"[{number}/{len(runs)}] {name}", flush=True)
        # A Ctrl-C reaches the program too, which saves and ends.
        status = subprocess.call([options.program, "--run", str(folder), *arguments, *options.extra,
                                  *(["--quiet"] if done else quiet)])
        if status in (INTERRUPTED, -signal.SIGINT):
            stop.set()
            return False
        if status != 0:
            stop.set()
            raise SystemExit(f"block_search: {name}: train-block-search ended with {status}, expected 0")
        return True

    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            return all(list(pool.map(one, enumerate(runs.items(), start=1))))
        except KeyboardInterrupt:
            stop.set()
            return False


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
        runs = [validations(options.runs / f"all-{attention}-seed{seed}") for attention in ATTENTIONS]
        if not all(runs):
            continue
        end = min(points[-1][1] for points in runs)
        errors = [percent(error_at(points, end)) for points in runs]
        print(f"seed {seed}, variant all, after {end:.0f} s of training each: mta {errors[0]} %, standard {errors[1]} %")


def print_kernel(options):
    print("| layers | kernel | sequence errors, % |\n|---|---|---|")
    for layers, kernel, seeds in KERNELS:
        folders = [options.runs / kernel_folder(layers, kernel, seed) for seed in seeds]
        errors = [percent(validations(f)[-1][2]) if finished(f) else "-" for f in folders]
        print(f"| {layers} | {kernel} x 9 | {', '.join(errors)} |")


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
    parser.add_argument("sets", nargs="*", metavar="SET", help="main, kernel, sweep; default: all")
    parser.add_argument("--program", default=str(ROOT / "build/bench/bin/train-block-search"))
    parser.add_argument("--runs", type=Path, default=ROOT / "build/block_search", help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sweep-steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; give each its share: -- --threads 1")
    parser.add_argument("--budget", type=float, help="begin no run after so many seconds")
    parser.add_argument("--table", action="store_true", help="print the results so far and train nothing")
    options = parser.parse_args(own)
    options.extra = extra
    sets = {"main": (lambda: main_runs(options.seeds), print_main), "kernel": (kernel_runs, print_kernel),
            "sweep": (lambda: sweep_runs(options.sweep_steps), print_sweep)}
    options.sets = options.sets or list(sets)
    unknown = [name for name in options.sets if name not in sets]
    if unknown:
        parser.error(f"got the set {unknown[0]}, expected {', '.join(sets)}")
    runs = {}
    for name in options.sets:
        runs |= sets[name][0]()
    complete = True
    if not options.table:
        options.runs.mkdir(parents=True, exist_ok=True)
        complete = train(options, runs)
    for name in options.sets:
        sets[name][1](options)
    return 0 if complete else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
