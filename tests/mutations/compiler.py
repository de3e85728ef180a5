"""Builds and runs one test file against the headers with some of them replaced.

SPDX-License-Identifier: MIT
"""

import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# No optimisation: a test is built once and run once. Warnings are the build's business; a mutant may have any.
FLAGS = ["-std=c++20", "-O0", "-w", "-fopenmp", "-ffp-contract=off"]
EIGEN_FOLDERS = ["/usr/include/eigen3", "/usr/local/include/eigen3"]


def package_flags(package, folders):
    """Where a library's headers are, as pkg-config or the usual places say; its warnings are its own."""
    if shutil.which("pkg-config"):
        answer = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return [flag.replace("-I", "-isystem", 1) for flag in shlex.split(answer.stdout)]
    return [f"-isystem{folder}" for folder in folders if Path(folder).is_dir()]


def eigen_flags():
    return package_flags("eigen3", EIGEN_FOLDERS)


class Compiler:
    """Compiles tests of the tree `root` in the folder `scratch`. Call prepare() first."""

    def __init__(self, root, scratch, cxx, timeout):
        self.root, self.scratch, self.cxx, self.timeout = Path(root).resolve(), scratch, shlex.split(cxx), timeout
        self.objects = []
        self.flags = [*FLAGS, *eigen_flags(), f'-DMTA_TEST_DATA="{self.root}/tests/golden"']
        # Several programs run side by side, each with several threads: waiting must not burn a core.
        self.environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}

    def compile(self, *arguments):
        """Nothing on success, else the first error line."""
        answer = subprocess.run([*self.cxx, *self.flags, *map(str, arguments)], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return None
        lines = answer.stderr.splitlines()
        return next((line for line in lines if "error" in line), lines[0] if lines else "no message")

    def prepare(self, jobs):
        """Builds main(), the fixture reader and a precompiled header, once."""
        tests = self.root / "tests"
        header = self.scratch / "precompiled.hpp"
        shutil.copy(tests / "support/precompiled.hpp", header)
        tasks = [("-x", "c++-header", header, "-o", f"{header}.gch")]
        for source in (tests / "main.cpp", tests / "support/golden.cpp"):
            if source.is_file():
                self.objects.append(self.scratch / f"{source.stem}.o")
                tasks.append(("-c", "-I", self.root / "include", "-I", tests, source, "-o", self.objects[-1]))
        with ThreadPoolExecutor(jobs) as pool:
            for problem in filter(None, pool.map(lambda task: self.compile(*task), tasks)):
                raise RuntimeError(f"mutations: cannot build the tests' main: {problem}")

    def sources(self, room, stem):
        """The test of a header: <stem>.cpp and what goes on in <stem>_<more>.cpp, unless that is a header's own."""
        folder = self.root / "tests" / room
        more = [path for path in folder.glob(f"{stem}_*.cpp")
                if not any(path.stem == other.stem or path.stem.startswith(other.stem + "_")
                           for other in (self.root / "include/mta" / room).glob(f"{stem}_*.hpp"))]
        return [folder / f"{stem}.cpp", *sorted(more)]

    def build_test(self, room, stem, overlay):
        """(program, nothing) or (nothing, first error): the test with `overlay`'s headers before the tree's."""
        program = self.scratch / f"{room}-{stem}-{overlay.name}"
        errors = self.compile("-include", self.scratch / "precompiled.hpp", "-I", overlay / "include",
                              "-I", self.root / "include", "-I", overlay / "tests", "-I", self.root / "tests",
                              *self.sources(room, stem), *self.objects, "-lcrypto", "-o", program)
        return (program, None) if errors is None else (None, errors)

    def run_test(self, program):
        """(exit status or nothing after a timeout, output); stops at the first failure."""
        try:
            answer = subprocess.run([program, "--abort-after=1", "--no-colors=true"], capture_output=True, text=True,
                                    timeout=self.timeout, env=self.environment, errors="replace", check=False)
        except subprocess.TimeoutExpired:
            return None, ""
        return answer.returncode, answer.stdout + answer.stderr
