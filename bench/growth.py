"""How time and memory of the fast path grow with S, H, kernels, mix groups and threads: python3 bench/growth.py [OPTIONS]

SPDX-License-Identifier: MIT

Around the paper's 880M shape at S = 1024, one axis at a time: forward and backward, medians of runs between which the
machine's multiply-add peak is measured in the same process. Needs the worker of compare_pytorch.py; --png needs matplotlib.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from compare_pytorch import HERE, Worker, multiply_adds

BASE = {"B": 1, "H": 16, "S": 1024, "D": 96, "Cq": 6, "Ck": 11, "group": 16}
AXES = {
    "S": [{"S": s} for s in (256, 512, 1024, 2048, 4096)],
    "H": [{"H": h, "group": min(h, 16)} for h in (2, 4, 8, 16, 32)],
    "kernel": [{"Cq": cq, "Ck": ck} for cq, ck in ((1, 1), (3, 5), (6, 11), (9, 15))],
    "group": [{"group": g} for g in (1, 2, 4, 8, 16)],
}


def label(axis, shape):
    return f"{shape['Cq']}x{shape['Ck']}" if axis == "kernel" else str(shape[axis])


def measure(options, shape, threads):
    worker = Worker("fast", [options.worker, *(str(n) for n in (
        shape["B"], shape["H"], shape["H"], shape["S"], shape["D"], shape["Cq"], shape["Ck"], shape["group"], threads))])
    worker.ask("both")
    memory = worker.ask("memory")
    times, peaks = [], []
    for _ in range(options.runs):
        times.append(worker.ask("both"))
        peaks.append(worker.ask("peak"))
    workspace = worker.ask("workspace")
    worker.close()
    numbers = (shape["B"], shape["H"], shape["H"], shape["D"], shape["Cq"], shape["Ck"], shape["group"])
    work = 2e-9 * multiply_adds(numbers, shape["S"])["both"]
    seconds = statistics.median(times)
    return {"threads": threads, "shape": shape, "seconds": seconds, "spread": [min(times), max(times)],
            "share": work / seconds / statistics.median(peaks), "peak": statistics.median(peaks),
            "workspace": workspace, "memory": memory}


def print_row(axis, result):
    low, high = result["spread"]
    print(f"  {axis} = {label(axis, result['shape']):6} {result['threads']} threads  {result['seconds']:8.4f} s "
          f"({low:.4f} to {high:.4f})  {result['share']:6.1%} of the peak ({result['peak']:.0f} GFLOP/s)  "
          f"workspace {result['workspace']:.0f} MiB, process {result['memory']:.0f} MiB", flush=True)


def draw(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(1, len(results), figsize=(4 * len(results), 3.4), layout="constrained")
    for panel, (axis, rows) in zip(panels, results.items()):
        for threads in sorted({row["threads"] for row in rows}):
            chosen = [row for row in rows if row["threads"] == threads]
            panel.plot([label(axis, row["shape"]) for row in chosen], [row["seconds"] for row in chosen], marker="o",
                       label=f"{threads} threads" if threads > 1 else "1 thread")
        panel.set_yscale("log")
        panel.set_xlabel({"kernel": "c_q x c_k", "group": "c_h"}.get(axis, axis))
        panel.grid(True, which="both", alpha=0.3)
    panels[0].set_ylabel("forward and backward, s")
    panels[0].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description="How the fast path's time and memory grow.")
    parser.add_argument("--worker", default=str(HERE.parent / "build/bench/bin/mta_fast_worker"))
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count()}))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    results = {}
    for axis in options.axes:
        results[axis] = []
        for change in AXES[axis]:
            for threads in options.threads:
                results[axis].append(measure(options, BASE | change, threads))
                print_row(axis, results[axis][-1])
    if options.json:
        options.json.write_text(json.dumps(results))
    if options.png:
        draw(results, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
