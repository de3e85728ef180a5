"""The files of a source tree, as the hygiene rules see them.

SPDX-License-Identifier: MIT
"""

import os
import subprocess
from pathlib import Path

CODE = {".hpp", ".cpp", ".h", ".hpp.in", ".cu", ".cuh"}
SCRIPTS = {".py", ".sh", ".cmake"}
SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}


class Tree:
    """A folder with its files as sorted POSIX paths relative to it; texts are read once."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.files = sorted(path for path in self._listed() if (self.root / path).is_file())
        self._known = set(self.files)
        self._texts = {}

    def _listed(self):
        """What git would commit; every file where there is no repository."""
        if (self.root / ".git").exists():
            command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            answer = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return [path for path in answer.stdout.split("\0") if path]
        found = []
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [name for name in subfolders if name not in SKIPPED_FOLDERS]
            found += [Path(folder, name).relative_to(self.root).as_posix() for name in names]
        return found

    def __contains__(self, path):
        return path in self._known

    def text(self, path):
        """The file's text; bytes that are no UTF-8 become surrogates."""
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_text(encoding="utf-8", errors="surrogateescape")
        return self._texts[path]

    def lines(self, path):
        return self.text(path).splitlines()

    def below(self, folder, suffix=""):
        """Paths below a folder, at any depth."""
        return [path for path in self.files if path.startswith(folder + "/") and path.endswith(suffix)]

    def stems(self, folder, suffix):
        """Stems of the files that lie directly in a folder."""
        return [Path(path).stem for path in self.below(folder, suffix) if path.count("/") == folder.count("/") + 1]

    def code(self):
        """C++ files."""
        return [path for path in self.files if Path(path).suffix in CODE]

    def sources(self):
        """Everything that is written by hand and run or compiled."""
        return [path for path in self.files if is_source(path)]


def is_source(path):
    """Whether a file is code, a script or a build file."""
    named = Path(path)
    return named.suffix in CODE | SCRIPTS or named.name == "CMakeLists.txt" or path == ".ci/run"
