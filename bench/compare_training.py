"""Training throughput here and in PyTorch, side by side: python3 bench/compare_training.py [OPTIONS]

SPDX-License-Identifier: MIT

The decoder of the block-search task's laptop preset, with multi-token and with standard attention, float32: one process for
each way (ours on all positions, ours where the loss counts, PyTorch eager and compiled), the same shapes and thread count,
some untimed steps each, then alternating steps, so that a busy machine slows all of them alike. A step is forward, backward,
clipping and AdamW. Prints medians, ratios, tokens per second and peak memory. Needs the worker,
    cmake --preset bench && cmake --build build/bench --target mta_training_worker
and a Python with torch (--python or MTA_VENV; examples/python/run.sh makes one).
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from compare_pytorch import HERE, Worker

PRESETS = {  # BATCH LENGTH ANSWER WIDTH LAYERS HEADS HIDDEN, and the kernel; examples/train_block_search/presets.hpp
    "laptop": ((64, 56, 6, 128, 2, 2, 512), (4, 9)),
    "paper": ((64, 320, 6, 256, 4, 2, 768), (2, 9)),
}
OURS = ("all positions", "counted positions")


def start(options, shape, kernel):
    numbers = [str(n) for n in (*shape, *kernel, options.threads)]
    workers = [Worker(way, [options.worker, way.split()[0], *numbers]) for way in OURS]
    script = str(HERE / "torch_training_worker.py")
    return workers + [Worker(way, [options.python, script, way, *numbers]) for way in options.ways]


def measure(options, shape, kernel):
    workers = start(options, shape, kernel)
    for worker in workers:
        for _ in range(3):  # compiles, and takes the memory that later steps use again
            worker.ask("step")
    times = {worker.name: [] for worker in workers}
    for _ in range(options.runs):
        for worker in workers:
            times[worker.name].append(worker.ask("step"))
    memory = {worker.name: worker.ask("memory") for worker in workers}
    for worker in workers:
        worker.close()
    return {"times": times, "memory": memory}


def report(attention, shape, result):
    tokens = shape[0] * shape[1]
    print(f"{attention}, {shape[0]} texts of {shape[1]} tokens:")
    best = statistics.median(result["times"][OURS[1]])
    for way, times in result["times"].items():
        seconds = statistics.median(times)
        print(f"  {way:18} {seconds:8.4f} s ({min(times):.4f} to {max(times):.4f})  {tokens / seconds:8.0f} tokens/s"
              f"  {seconds / best:5.2f} x ours  {result['memory'][way]:5.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Training steps here and in PyTorch.")
    parser.add_argument("--worker", default=str(HERE.parent / "build/bench/bin/mta_training_worker"))
    venv = os.environ.get("MTA_VENV", str(Path.home() / ".cache/mta-venv"))
    parser.add_argument("--python", default=f"{venv}/bin/python", help="an interpreter that has torch")
    parser.add_argument("--preset", choices=PRESETS, default="laptop")
    parser.add_argument("--ways", nargs="*", choices=("eager", "compiled"), default=["eager", "compiled"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    shape, kernel = PRESETS[options.preset]
    for attention, size in {"mta": kernel, "standard": (0, 0)}.items():
        results[attention] = measure(options, shape, size)
        report(attention, shape, results[attention])
    if options.json:
        options.json.write_text(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
