"""Multi-token attention here and in PyTorch, side by side: python3 bench/compare_pytorch.py [OPTIONS]

SPDX-License-Identifier: MIT

One process for each way (ours; PyTorch eager and compiled; PyTorch's fused standard attention), the same shape and thread
count, one untimed run each, then alternating runs, so that a busy machine slows all of them alike. Prints medians, ratios
and peak memory, and the machine's multiply-add peak and copy bandwidth measured between the runs. Needs the worker,
    cmake --preset bench && cmake --build build/bench --target mta_fast_worker
and a Python with torch (--python or MTA_VENV; examples/python/run.sh makes one). --json writes every time, --png a figure.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHAPES = {"880m": (1, 16, 16, 96, 6, 11, 16), "toy": (8, 2, 2, 128, 2, 9, 0)}  # B H HKV D CQ CK MIX_GROUP
PASSES = ("forward", "both")
SETTLE = 0.3  # seconds until the threads of the process that was asked before have stopped waiting for more work


class Worker:
    """A process that answers a request with a number."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, request):
        time.sleep(SETTLE)
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"compare_pytorch: {self.name} ended while it was asked for {request}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start(options, shape, length):
    b, h, hkv, d, cq, ck, group = shape
    numbers = [str(n) for n in (b, h, hkv, length, d, cq, ck, group, options.threads)]
    workers = [Worker("fast", [options.worker, *numbers])]
    for way in options.ways:
        workers.append(Worker(way, [options.python, str(HERE / "torch_worker.py"), way, *numbers]))
    return workers


def multiply_adds(shape, length):
    """Of one forward and of one forward and backward pass, with the logits and weights computed again."""
    b, h, _, d, cq, ck, group = shape
    pairs = b * h * length * (length + 1) / 2
    inner = 2 * cq * ck + 2 * group
    return {"forward": pairs * (2 * d + inner), "both": pairs * (7 * d + 4 * inner)}


def measure(options, shape, length):
    workers = start(options, shape, length)
    times = {worker.name: {p: [] for p in PASSES} for worker in workers}
    machine = {"peak": [], "copy": []}
    for worker in workers:
        for name in PASSES:
            worker.ask(name)
    memory = {worker.name: worker.ask("memory") for worker in workers}  # before copy takes memory of its own
    for name in PASSES:
        for _ in range(options.runs):
            for worker in workers:
                times[worker.name][name].append(worker.ask(name))
            for quantity, values in machine.items():
                values.append(workers[0].ask(quantity))
    for worker in workers:
        worker.close()
    return {"length": length, "times": times, "memory": memory, "machine": machine}


def report(shape, result):
    peak = max(result["machine"]["peak"])
    work = multiply_adds(shape, result["length"])
    print(f"S = {result['length']}: multiply-add peak {peak:.0f} GFLOP/s, copy {max(result['machine']['copy']):.1f} GB/s")
    for name in PASSES:
        ours = statistics.median(result["times"]["fast"][name])
        print(f"  {name:8} fast {ours:9.4f} s, {2e-9 * work[name] / ours / peak:5.1%} of the peak", end="")
        for other, times in result["times"].items():
            if other != "fast":
                median = statistics.median(times[name])
                print(f"; {other} {median:.4f} s, {median / ours:.2f} x ours", end="")
        print()
    def spread(name):
        low, high = min(result["times"]["fast"][name]), max(result["times"]["fast"][name])
        return f"{name} {low:.4f} to {high:.4f} s"

    print("  spread   fast " + ", ".join(spread(name) for name in PASSES))
    print("  memory   " + "; ".join(f"{name} {size:.0f} MiB" for name, size in result["memory"].items()))


def draw(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(1, len(PASSES), figsize=(9, 3.6), layout="constrained", sharey=True)
    for panel, name in zip(panels, PASSES):
        for way in results[0]["times"]:
            panel.plot([r["length"] for r in results], [statistics.median(r["times"][way][name]) for r in results],
                       marker="o", label=way)
        panel.set(xscale="log", yscale="log", xlabel="S", title={"both": "forward and backward"}.get(name, name))
        panel.set_xticks([r["length"] for r in results], labels=[str(r["length"]) for r in results], minor=False)
        panel.set_xticks([], minor=True)
        panel.grid(True, which="both", alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    figure.savefig(path, dpi=110)


def main():
    venv = os.environ.get("MTA_VENV", str(Path.home() / ".cache/mta-venv"))
    parser = argparse.ArgumentParser(description="Compares the fast path with PyTorch.")
    parser.add_argument("--worker", default=str(HERE.parent / "build/bench/bin/mta_fast_worker"))
    parser.add_argument("--python", default=f"{venv}/bin/python", help="an interpreter that has torch")
    parser.add_argument("--ways", nargs="*", default=["eager", "compiled", "standard"])
    parser.add_argument("--shape", choices=SHAPES, default="880m")
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path, help="a figure; needs matplotlib")
    options = parser.parse_args()
    results = []
    for length in options.lengths:
        results.append(measure(options, SHAPES[options.shape], length))
        report(SHAPES[options.shape], results[-1])
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps({"shape": options.shape, "threads": options.threads, "results": results}))
    if options.png:
        draw(results, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
