"""How time and memory of the fast path grow with S, H, kernels, mix groups and threads: python3 bench/growth.py [OPTIONS]

SPDX-License-Identifier: MIT

Around the paper's 880M shape at S = 1024, one axis at a time: forward and backward, medians of runs between which the
machine's multiply-add peak is measured in the same process; thread counts
alternate. Needs the worker of compare_pytorch.py; --png needs matplotlib.
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


def measure(options, shape):
    """One result per thread count; the runs of the counts alternate, each beside a peak of its own."""
    workers = {threads: Worker("fast", [options.worker, *(str(n) for n in (
        shape["B"], shape["H"], shape["H"], shape["S"], shape["D"], shape["Cq"], shape["Ck"], shape["group"], threads))])
        for threads in options.threads}
    times, peaks, memory = ({threads: [] for threads in workers} for _ in range(3))
    for threads, worker in workers.items():
        worker.ask("both")
        memory[threads] = worker.ask("memory")
    for _ in range(options.runs):
        for threads, worker in workers.items():
            times[threads].append(worker.ask("both"))
            peaks[threads].append(worker.ask("peak"))
    numbers = (shape["B"], shape["H"], shape["H"], shape["D"], shape["Cq"], shape["Ck"], shape["group"])
    work = 2e-9 * multiply_adds(numbers, shape["S"])["both"]
    results = []
    for threads, worker in workers.items():
        seconds, peak = statistics.median(times[threads]), statistics.median(peaks[threads])
        results.append({"threads": threads, "shape": shape, "seconds": seconds,
                        "spread": [min(times[threads]), max(times[threads])], "share": work / seconds / peak, "peak": peak,
                        "workspace": worker.ask("workspace"), "memory": memory[threads]})
        worker.close()
    return results


def print_rows(axis, results):
    for result in results:
        low, high = result["spread"]
        print(f"  {axis} = {label(axis, result['shape']):6} {result['threads']} threads  {result['seconds']:8.4f} s "
              f"({low:.4f} to {high:.4f})  {result['share']:6.1%} of the peak ({result['peak']:.0f} GFLOP/s)  "
              f"workspace {result['workspace']:.0f} MiB, process {result['memory']:.0f} MiB", flush=True)
    first, last = results[0], results[-1]
    if last["threads"] != first["threads"]:
        faster, peaks = first["seconds"] / last["seconds"], last["peak"] / first["peak"]
        print(f"  {axis} = {label(axis, first['shape']):6} {faster:.2f} times faster with {last['threads']} threads than with "
              f"{first['threads']}: {faster / peaks:.0%} of the peak's own {peaks:.2f}", flush=True)


def draw(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, rows_of_panels = pyplot.subplots(2, len(results), figsize=(4 * len(results), 5.6), layout="constrained")
    for (upper, lower), (axis, rows) in zip(zip(*rows_of_panels), results.items()):
        for threads in sorted({row["threads"] for row in rows}):
            chosen = [row for row in rows if row["threads"] == threads]
            at, name = [label(axis, row["shape"]) for row in chosen], f"{threads} threads" if threads > 1 else "1 thread"
            upper.plot(at, [row["seconds"] for row in chosen], marker="o", label=name)
            lower.plot(at, [100 * row["share"] for row in chosen], marker="o", label=name)
        if axis == "S":
            upper.set_yscale("log")
        else:
            upper.set_ylim(bottom=0)
        lower.set_ylim(0, 80)
        lower.set_xlabel({"kernel": "c_q x c_k", "group": "c_h"}.get(axis, axis))
        for panel in (upper, lower):
            panel.grid(True, which="both", alpha=0.3)
    rows_of_panels[0][0].set_ylabel("forward and backward, s")
    rows_of_panels[1][0].set_ylabel("% of the run's multiply-add peak")
    rows_of_panels[0][0].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description="How the fast path's time and memory grow.")
    parser.add_argument("--worker", default=str(HERE.parent / "build/bench/bin/mta_fast_worker"))
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count()}))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--saved", type=Path, metavar="JSON", help="draws what an earlier run wrote; measures nothing")
    options = parser.parse_args()
    if options.saved and not options.png:
        parser.error("got --saved without --png, expected the picture's name")
    if options.saved:
        draw(json.loads(options.saved.read_text()), options.png)
        return 0
    results = {axis: [] for axis in options.axes}
    for axis in options.axes:
        for change in AXES[axis]:
            rows = measure(options, BASE | change)
            print_rows(axis, rows)
            results[axis] += rows
    if options.json:
        options.json.write_text(json.dumps(results))
    if options.png:
        draw(results, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
