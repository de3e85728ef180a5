"""Breaks the library on purpose and expects the tests to notice: python3 tests/mutations/run.py [options]

SPDX-License-Identifier: MIT

Lists of mutations lie in tests/mutations/<room>/<stem>.json; README.md says their format. For every header the test
is built and must pass unchanged; then each mutation is put into a private copy of its file, the test is built against
it and must fail. Exit status: 0 all killed, 1 something else, 2 usage.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compiler import Compiler
from lists import choose, load_lists, mutated_text

KILLED = {"killed", "killed by timeout"}


def judge(compiler, mutation, number):
    """(verdict, detail) of one mutation: killed, killed by timeout, SURVIVED, does-not-compile or stale."""
    try:
        text = mutated_text(compiler.root, mutation)
    except ValueError as error:
        return "stale", str(error)
    overlay = compiler.scratch / f"mutant{number}"
    target = overlay / mutation.file
    target.parent.mkdir(parents=True)
    target.write_text(text, encoding="utf-8")
    program, errors = compiler.build_test(mutation.room, mutation.stem, overlay)
    if program is None:
        return "does-not-compile", errors
    status, output = compiler.run_test(program)
    program.unlink()
    if status is None:
        return "killed by timeout", ""
    return ("SURVIVED", mutation.why) if status == 0 else ("killed", failed_tests(output))


def failed_tests(output):
    """The names of the failed test cases, from doctest's report."""
    names = list(dict.fromkeys(re.findall(r"^TEST CASE:\s*(.+)$", output, re.MULTILINE)))
    return "; ".join(names[:2]) or "crashed"


def baseline(compiler, room, stem):
    """Nothing when the unchanged test builds and passes, else a sentence."""
    program, errors = compiler.build_test(room, stem, compiler.scratch / "unchanged")
    if program is None:
        return f"tests/{room}/{stem}.cpp does not compile unchanged: {errors}"
    status, output = compiler.run_test(program)
    program.unlink()
    if status == 0:
        return None
    return f"tests/{room}/{stem}.cpp fails unchanged ({'timeout' if status is None else failed_tests(output)})"


def run(compiler, mutations, jobs, say=print):
    """Judges every mutation and returns [(mutation, verdict, detail)] in the order of the lists."""
    started = time.monotonic()
    pairs = list(dict.fromkeys((m.room, m.stem) for m in mutations))
    say(f"mutations: {len(mutations)} in {len(pairs)} headers, {jobs} at a time; building doctest and fixtures first")
    compiler.prepare(jobs)
    with ThreadPoolExecutor(jobs) as pool:
        broken = dict(zip(pairs, pool.map(lambda pair: baseline(compiler, *pair), pairs)))
        for problem in filter(None, broken.values()):
            say(f"mutations: {problem}")
        say(f"mutations: {len(pairs)} unchanged tests built and run after {time.monotonic() - started:.0f} s")

        def one(numbered):
            number, mutation = numbered
            problem = broken[mutation.room, mutation.stem]
            verdict, detail = ("not-judged", problem) if problem else judge(compiler, mutation, number)
            say(f"[{number + 1:3}/{len(mutations)}] {verdict:16} {mutation.label}: {detail}")
            return mutation, verdict, detail

        return list(pool.map(one, enumerate(mutations)))


def exit_status(results):
    """0 only when every mutation was killed."""
    return 0 if results and all(verdict in KILLED for _, verdict, _ in results) else 1


def summary(results):
    """One line of counts, then one line for each mutation that was not killed."""
    counts = {}
    for _, verdict, _ in results:
        counts[verdict] = counts.get(verdict, 0) + 1
    lines = ["mutations: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))]
    lines += [f"  {verdict}: {m.label}: {detail}" for m, verdict, detail in results if verdict not in KILLED]
    return "\n".join(lines)


def parse_options(arguments):
    parser = argparse.ArgumentParser(description="Applies the mutations of tests/mutations; the tests must kill each.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="source tree")
    parser.add_argument("--list", action="store_true", help="print the mutations and stop")
    parser.add_argument("--only", metavar="PATTERN", default="", help="those whose room/stem/name holds this regex")
    parser.add_argument("--sample", metavar="N", type=int, help="N of them, always the same, from every header if N allows")
    parser.add_argument("--seed", type=int, default=0, help="another sample")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=240, help="seconds a mutated test may run")
    parser.add_argument("--cxx", default=os.environ.get("CXX", "c++"))
    return parser.parse_args(arguments)


def list_mutations(root, mutations):
    """Prints names and reasons; 1 when a mutation no longer fits the file it breaks."""
    stale = []
    for mutation in mutations:
        print(f"{mutation.label}: {mutation.why}")
        try:
            mutated_text(root, mutation)
        except ValueError as error:
            stale.append(f"stale: {mutation.label}: {error}")
    for line in stale:
        print(line, file=sys.stderr)
    return 1 if stale else 0


def main(arguments=None):
    options = parse_options(arguments)
    try:
        mutations = choose(load_lists(options.root), options.only, options.sample, options.seed)
    except (ValueError, re.error) as error:
        print(f"mutations: {error}", file=sys.stderr)
        return 2
    if options.list:
        return list_mutations(options.root, mutations)
    if not mutations:
        print(f"mutations: got none that match '{options.only}', expected at least one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mta-mutations-") as scratch:
        compiler = Compiler(options.root, Path(scratch), options.cxx, options.timeout)
        results = run(compiler, mutations, max(1, options.jobs), lambda line: print(line, flush=True))
    print(summary(results))
    return exit_status(results)


if __name__ == "__main__":
    sys.exit(main())
