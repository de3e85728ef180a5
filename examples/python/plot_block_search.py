"""Error curves of block-search runs: against steps and against seconds of training, as one picture.

SPDX-License-Identifier: MIT

Run: python3 examples/python/plot_block_search.py RUN... [--out curves.png] [--metric sequence_error]

A RUN is a folder of train-block-search. Runs that differ in seeds only are drawn in one colour, and their median as a
thick line. Needs matplotlib.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

FLOOR = 1e-3  # where a curve of no errors at all is drawn on the logarithmic axis


class Run:
    """What a run folder says: its label, and (step, seconds, value) of every validation."""

    def __init__(self, folder, metric):
        config = json.loads((folder / "config.json").read_text())
        self.label = label(config)
        self.points = []
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            if not line.endswith("}"):  # a session that was killed may leave half a line
                continue
            entry = json.loads(line)
            if "validation" in entry:
                self.points.append((entry["step"], entry["seconds"], entry["validation"][metric]))


def label(config):
    """Everything that tells runs apart, except their seeds."""
    model, task = config["model"], config["task"]
    attention = model["attention"][0]
    kind = "standard"
    if attention["pre"]["query_kernel"] > 0:
        kind = f"MTA {attention['pre']['query_kernel']}x{attention['pre']['key_kernel']}"
        kind += "".join([" post" * (attention["post"]["query_kernel"] > 0), " mix" * (attention["pre"]["mix_group"] > 0),
                         f" {attention['norm']}" if attention["norm"] else "",
                         f" {attention['gate']} gate" if attention["gate"] else ""])
    return f"{kind}, {task['variant']}, N={task['letters']}, {model['layers']} layers, width {model['width']}"


def median_curve(runs):
    """(steps, seconds, values) at the steps that all runs have reached, each the median over runs."""
    by_step = [{step: (seconds, value) for step, seconds, value in run.points} for run in runs]
    steps = sorted(set.intersection(*(set(points) for points in by_step)))
    middle = [[statistics.median(points[step][n] for points in by_step) for step in steps] for n in (0, 1)]
    return steps, middle[0], middle[1]


def draw(groups, metric, out):
    """Two panels that share the error axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for number, (name, runs) in enumerate(sorted(groups.items())):
        colour = f"C{number % 10}"
        for panel, column in zip(panels, (0, 1)):
            for run in runs:
                panel.plot([p[column] for p in run.points], [max(p[2], FLOOR) for p in run.points], color=colour,
                           linewidth=0.8, alpha=0.45 if len(runs) > 1 else 1)
            steps, seconds, values = median_curve(runs)
            what = f"{name} (median of {len(runs)})" if len(runs) > 1 else name
            panel.plot((steps, seconds)[column], [max(v, FLOOR) for v in values], color=colour, linewidth=2, label=what)
    for panel, axis in zip(panels, ("steps", "seconds of training")):
        panel.set(xlabel=axis, yscale="log", ylim=(FLOOR * 0.8, 1.1))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(metric.replace("_", " "))
    panels[0].legend(fontsize=8, loc="lower left")
    figure.savefig(out, dpi=150)


def main():
    parser = argparse.ArgumentParser(description="Draws the error curves of block-search runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("block_search.png"))
    parser.add_argument("--metric", choices=("sequence_error", "token_error"), default="sequence_error")
    options = parser.parse_args()
    groups = defaultdict(list)
    for folder in options.runs:
        try:
            run = Run(folder, options.metric)
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"plot_block_search: {folder}: got {error!r}, expected the folder of a run")
        if not run.points:
            sys.exit(f"plot_block_search: {folder}: got no validation lines, expected at least one")
        groups[run.label].append(run)
    draw(groups, options.metric, options.out)
    for name, runs in sorted(groups.items()):
        last = [run.points[-1] for run in runs]
        errors = ", ".join(f"{100 * value:.2f} % after {step}" for step, _, value in last)
        print(f"{name}: {options.metric} {errors}")


if __name__ == "__main__":
    main()
