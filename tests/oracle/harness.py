"""Runs a program in a folder of its own and holds every run to the contract of the command line.

SPDX-License-Identifier: MIT

Whatever the command line: the program ends by itself with the expected code; an error is exactly one line on standard
error that begins with the program's name; nothing that it prints can command a terminal; a run that fails leaves every
file of the folder as it was and no other file.
"""

import os
import re
import subprocess

# 0 agrees, 1 mismatch: the report is on standard output. Every other code is an error.
REPORTS = (0, 1)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Harness:
    """The program, its folder, and what went wrong so far."""

    def __init__(self, program, folder):
        self.program, self.folder = os.path.abspath(program), folder
        self.runs, self.failures = 0, []
        # Short runs side by side with other tests: waiting threads must not burn a core.
        self.environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "LC_ALL": "C"}

    def file(self, name, content):
        """Writes a file into the folder and returns its name, relative to the folder."""
        path = self.folder / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return name

    def start(self, arguments, **options):
        """The finished process; its standard output and error as text."""
        self.runs += 1
        environment = self.environment | options.pop("environment", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        return subprocess.run([self.program, *arguments], cwd=self.folder, env=environment, errors="replace",
                              timeout=300, check=False, **options)

    def snapshot(self):
        """What the folder holds: {relative path: bytes, or None for what is no regular file}."""
        return {str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
                for path in sorted(self.folder.rglob("*"))}

    def fail(self, arguments, sentence):
        self.failures.append(f"{' '.join(map(repr, arguments))}: {sentence}")

    def expect(self, code, arguments, says=(), new=(), **options):
        """Runs the program and judges the run. `says`: what it must print; `new`: the files it may write, a name that
        ends with a slash standing for a folder and all that is in it."""
        before = self.snapshot()
        process = self.start(arguments, **options)
        printed, error = process.stdout or "", process.stderr or ""
        complain = lambda sentence: self.fail(arguments, sentence)  # noqa: E731
        if process.returncode != code:
            complain(f"got exit code {process.returncode}, expected {code}; it said: {(error or printed)[:300]!r}")
        if code not in REPORTS and not re.fullmatch(r"mta-oracle: \S[^\n]*\n", error):
            complain(f"got {error[:300]!r} on standard error, expected one line from 'mta-oracle: '")
        if code == 1 and error:
            complain(f"got {error[:300]!r} on standard error, expected nothing beside the report")
        if CONTROL.search(printed + error):
            complain(f"got a control character in {(printed + error)[:300]!r}, expected none")
        for part in (says,) if isinstance(says, str) else says:
            if part not in printed + error:
                complain(f"got {(error or printed)[:400]!r}, expected it to contain {part!r}")
        after = self.snapshot()
        folders = tuple(name for name in new if name.endswith("/"))
        for name in sorted(set(before) | set(after)):
            if name not in new and not f"{name}/".startswith(folders) and before.get(name, "absent") != after.get(name, "absent"):
                complain(f"got {name} changed, made or removed, expected it untouched")
        for name in new:
            if name.rstrip("/") not in after:
                complain(f"got no file {name}, expected it")
        return process
