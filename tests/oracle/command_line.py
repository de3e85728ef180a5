"""Holds mta-oracle to its command-line contract: python3 tests/oracle/command_line.py PATH_TO_MTA_ORACLE

SPDX-License-Identifier: MIT

Only the Python standard library is needed. Exit status: 0 every run was as expected, 1 something was not, 2 usage.
"""

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import bad_candidates
import bad_cases
import bad_configurations
import bad_files
import bad_options
import bad_results
import good_cases
import good_runs
import hostile_machines
from harness import Harness


def usage(harness):
    """Command lines: what is no command line ends with 2, help and version with 0."""
    says = harness.expect
    says(0, ["--help"], ("eval", "compare", "gen", "profiles", "stages", "vectors", "check", "diagnose", "identities", "identify",
                          "shrink", "gradcheck", "power", "selftest"))
    says(0, ["-h"], "eval")
    says(0, ["--version"], "mta-oracle ")
    says(0, ["eval", "--help"], ("--config", "--in", "--out", "--backend", "--dtype", "--trace"))
    says(0, ["compare", "--help"], ("EXPECTED", "ACTUAL", "--rtol", "--atol", "--json"))
    says(0, ["gen", "--help"], ("--suite", "--case", "--profile", "--io", "--seed", "--out"))
    says(0, ["vectors", "--help"], ("--pocket", "--smoke", "--full", "--out", "--verify"))
    files = ["--config", "c.json", "--in", "in.safetensors", "--out", "new"]
    says(2, [], "subcommand")
    says(2, [""])
    says(2, ["evl"], "'evl', the nearest known is 'eval'")
    says(2, ["Compare"], "'Compare', the nearest known is 'compare'")
    says(2, ["--versoin"], "'--versoin', the nearest known is '--version'")
    says(2, ["eval"], "--config")
    says(2, ["eval", "--in", "x", "--out", "y"], "--config is required")
    says(2, ["eval", "--config", "x", "--out", "y"], "--in is required")
    says(2, ["eval", "--config", "x", "--in", "y"], "--out is required")
    says(2, ["eval", "--config"], "--config")
    says(2, ["eval", "--cofnig", "x"], "'--cofnig', the nearest known is '--config'")
    says(2, ["eval", *files, "more"], "more")
    says(2, ["eval", *files, "--trace=perhaps"])
    says(2, ["eval", *files, "--in", "twice"], "--in")
    says(2, ["eval", *files, "compare", "a", "b"])
    for backend in ("nonsense", "FAST", "", "reference,fast"):
        says(2, ["eval", *files, "--backend", backend], f"got '{backend}', expected one of reference, fast, cuda")
    for dtype in ("float16", "F64", "double", "", "float64\nforged: line\x1b[2J"):
        says(2, ["eval", *files, "--dtype", dtype], ", expected one of float64, float32")
    for backend in ("cuda",):
        says(8, ["eval", *files, "--backend", backend], f"--backend: got '{backend}'")
    says(2, ["compare"], "EXPECTED")
    says(2, ["compare", "in.safetensors"], "ACTUAL")
    says(2, ["compare", "a", "b", "c"], "c")
    says(2, ["compare", "a", "b", "--rounding", "bf16-flash"], "got --rounding without --config")


def tolerances(harness):
    """Tolerances that no comparison could judge by are no command line either."""
    for option in ("--rtol", "--atol"):
        for value in ("nan", "-1", "inf", "-inf", "1e999", "1e", "", "one", "1,0", "-1e-300"):
            harness.expect(2, ["compare", "in.safetensors", "in.safetensors", option, value],
                           f"{option}: got '{value}', expected a finite number of at least 0")
        harness.expect(0, ["compare", "in.safetensors", "in.safetensors", option, "0"], "agrees")
        harness.expect(2, ["compare", "in.safetensors", "in.safetensors", option], option)


def paths(harness):
    """Files that cannot be read or written end with 3 and change nothing."""
    says = harness.expect
    harness.file("old", "what was here before")
    (harness.folder / "folder").mkdir()
    evaluate = lambda config="c.json", tensors="in.safetensors", out="new": [  # noqa: E731
        "eval", "--config", config, "--in", tensors, "--out", out]
    for missing in ("none", "none/none", "folder", "", "in.safetensors/x", "/dev/null", "no\nfile\x1b[31m"):
        says(3, evaluate(config=missing), "cannot read ")
        says(3, evaluate(tensors=missing), "cannot read ")
        says(3, ["compare", missing, "in.safetensors"], "cannot read ")
        says(3, ["compare", "in.safetensors", missing], "cannot read ")
    for out in ("none/new", "folder", "folder/", "", "in.safetensors/new", "/dev/full", "/dev/null", "x" * 5000,
                "/proc/none/new"):
        says(3, evaluate(out=out), "cannot write ")
        says(3, ["compare", "in.safetensors", "in.safetensors", "--json", out] if out else
             ["compare", "none", "none"], "cannot ")
    says(3, evaluate(config="in.safetensors", out="old"), "in.safetensors: ")
    says(3, evaluate(tensors="c.json", out="old"), "c.json: ")
    # Inputs are never overwritten, under whatever name.
    (harness.folder / "link").symlink_to("in.safetensors")
    for out in ("in.safetensors", "./in.safetensors", "link", "c.json"):
        says(2, evaluate(out=out), ", which is also read, expected another file")
    for report in ("in.safetensors", "link"):
        says(2, ["compare", "in.safetensors", "in.safetensors", "--json", report], ", which is also read")
    says(0, evaluate(out="old"), "wrote 5 tensors to old", new=("old",))
    (harness.folder / "alias").symlink_to("old")
    says(0, evaluate(out="alias"), "wrote", new=("old",))
    if not (harness.folder / "alias").is_symlink():
        harness.fail(["--out", "alias"], "got the link replaced, expected the file that it names")


GROUPS = (usage, tolerances, paths, bad_configurations.configurations, bad_configurations.hostile_json, bad_files.tensors,
          bad_files.hostile_tensors_files, bad_files.digests, hostile_machines.full_disk,
          hostile_machines.little_memory, hostile_machines.closed_output, good_runs.outputs, good_runs.types,
          good_runs.threads, good_runs.comparisons, good_runs.golden_cases, good_runs.one_element, bad_cases.case_options,
          bad_cases.pocket_files, bad_cases.vector_folders, good_cases.suites, good_cases.options, good_cases.lists,
          good_cases.vectors, bad_candidates.libraries, bad_candidates.hostile, bad_candidates.wrong_numbers,
          bad_candidates.layouts, bad_candidates.effects, bad_results.outputs, bad_results.folders, bad_results.suite_files,
          bad_results.exact, bad_options.cases, bad_options.values, bad_options.suites, bad_options.ignored,
          bad_options.problems, bad_options.places)


def main(arguments):
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print(f"command_line.py: got {arguments}, expected the path of the built mta-oracle", file=sys.stderr)
        return 2
    runs, failures = 0, []
    for group in GROUPS:
        with tempfile.TemporaryDirectory(prefix="mta-oracle-") as folder:
            harness = Harness(arguments[0], Path(folder))
            good_runs.small_case(harness)
            group(harness)
            print(f"{group.__name__:24} {harness.runs:4} runs, {len(harness.failures)} failures", flush=True)
            runs += harness.runs
            failures += harness.failures
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"command_line: {runs} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
