"""Rules about the text of files: lengths, licence lines, ASCII, versions, links, formatting.

SPDX-License-Identifier: MIT

Every rule is a function of a Tree that yields sentences "file:line: got ..., expected ...".
"""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from cpp_functions import functions

MOST_FILE_LINES = 299
MOST_FUNCTION_LINES = 39
# A test case is a list of expectations, read from top to bottom; nobody calls it.
MOST_TEST_CASE_LINES = 79
LICENCE = "SPDX-License-Identifier: MIT"
LICENCE_WITHIN = 6
# Written so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
HOME_FOLDER = re.compile(r"(?<![\w.])/(?:home|Users)/\w+")
MARKDOWN_LINK = re.compile(r"(?<!!)!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?[^)]*\)")
FORMATTER = "clang-format-14"


def file_length(tree):
    """Every source file stays under 300 lines: a longer one holds a second idea."""
    for path in tree.sources():
        size = len(tree.lines(path))
        if size > MOST_FILE_LINES:
            yield f"{path}: got {size} lines, expected at most {MOST_FILE_LINES}"


def _python_functions(text):
    """(line, name, lines of code) of every Python function."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = [line.strip() for line in lines[node.lineno - 1:node.end_lineno]]
            yield node.lineno, node.name, sum(1 for line in body if line and not line.startswith("#"))


def function_length(tree):
    """Every function stays under 40 lines of code, comments and blank lines not counted."""
    for path in tree.code():
        for found in functions(tree.text(path)):
            most = MOST_TEST_CASE_LINES if found.is_test_case else MOST_FUNCTION_LINES
            if found.lines > most:
                yield f"{path}:{found.line}: got {found.lines} lines of code in '{found.head[:60]}', " \
                      f"expected at most {most}"
    for path in tree.files:
        if path.endswith(".py"):
            for line, name, size in _python_functions(tree.text(path)):
                if size > MOST_FUNCTION_LINES:
                    yield f"{path}:{line}: got {size} lines of code in {name}, expected at most {MOST_FUNCTION_LINES}"


def licence_line(tree):
    """Every source file says its licence in its first lines."""
    for path in tree.sources():
        if LICENCE not in "\n".join(tree.lines(path)[:LICENCE_WITHIN]):
            yield f"{path}: got no '{LICENCE}' in the first {LICENCE_WITHIN} lines, expected it there"


def plain_ascii(tree):
    """Code, scripts and build files are ASCII without tabs or trailing blanks."""
    for path in tree.sources():
        for number, line in enumerate(tree.lines(path), start=1):
            odd = next((c for c in line if ord(c) > 126 or ord(c) < 32), None)
            if odd is not None:
                yield f"{path}:{number}: got the character U+{ord(odd):04X}, expected plain ASCII without tabs"
            elif line != line.rstrip():
                yield f"{path}:{number}: got trailing blanks, expected none"


def finished(tree):
    """No unfinished marks and no path of somebody's machine."""
    for path in tree.sources() + [path for path in tree.files if path.endswith(".md")]:
        for number, line in enumerate(tree.lines(path), start=1):
            for pattern, wish in ((UNFINISHED, "an issue instead"), (HOME_FOLDER, "no path of one machine")):
                match = pattern.search(line)
                if match:
                    yield f"{path}:{number}: got {match.group(0)}, expected {wish}"


def _version_claims(tree):
    """(where, version) of everything that states a version."""
    header = "include/mta/version.hpp"
    macros = dict(re.findall(r"^#define MTA_VERSION_(\w+) \"?([\d.]+)\"?$", tree.text(header), re.MULTILINE))
    numbers = ".".join(macros.get(part, "?") for part in ("MAJOR", "MINOR", "PATCH"))
    yield header, numbers
    yield f"{header}: MTA_VERSION_STRING", macros.get("STRING", "nothing")
    for path, pattern in (("CHANGELOG.md", r"^## \[(\d[^\]]*)\]"), ("CITATION.cff", r"^version:\s*[\"']?([^\s\"']+)")):
        match = re.search(pattern, tree.text(path), re.MULTILINE) if path in tree else None
        yield path, match.group(1) if match else "nothing"


def one_version(tree):
    """version.hpp, the newest CHANGELOG entry and CITATION.cff state the same version."""
    if "include/mta/version.hpp" not in tree:
        yield "include/mta/version.hpp: got no such file, expected the one place that states the version"
        return
    claims = list(_version_claims(tree))
    expected = claims[0][1]
    for where, version in claims:
        if version != expected or not re.fullmatch(r"\d+\.\d+\.\d+", version):
            yield f"{where}: got version {version}, expected {expected} as three numbers"


def heading_anchors(markdown):
    """The anchors that a Markdown page offers, as code-hosting sites make them from headings."""
    anchors = set()
    for title in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", without_code_blocks(markdown), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").replace("*", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        while slug in anchors:
            slug += "-1"
        anchors.add(slug)
    return anchors


def without_code_blocks(markdown):
    """The page without fenced blocks, line by line."""
    return re.sub(r"^```.*?^```", lambda m: "\n" * m.group(0).count("\n"), markdown, flags=re.MULTILINE | re.DOTALL)


def _resolve(page, target):
    """The path in the tree that a relative link of a page means."""
    parts = []
    for part in PurePosixPath(PurePosixPath(page).parent, target).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def links(tree):
    """Every relative link of a Markdown page leads to a file or folder of the tree, and its anchor to a heading."""
    for page in (path for path in tree.files if path.endswith(".md")):
        text = re.sub(r"`[^`\n]*`", "", without_code_blocks(tree.text(page)))
        for match in MARKDOWN_LINK.finditer(text):
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"^[a-z][a-z+.-]*:", target):
                continue
            where = f"{page}:{text.count(chr(10), 0, match.start()) + 1}: got a link to {match.group(1)}, expected"
            path = _resolve(page, target) if target else page
            if path is None or not (path in tree or (tree.root / path).is_dir()):
                yield f"{where} a file of this tree"
            elif anchor and path.endswith(".md") and anchor not in heading_anchors(tree.text(path)):
                yield f"{where} a heading of {path}"


def readable_json(tree):
    """Every .json file is JSON."""
    for path in tree.files:
        if path.endswith(".json"):
            try:
                json.loads(tree.text(path))
            except ValueError as error:
                yield f"{path}: got {error}, expected JSON"


def formatted(tree):
    """clang-format would change nothing; only version 14 is asked, because versions differ in taste."""
    if shutil.which(FORMATTER) is None or ".clang-format" not in tree:
        return
    for path in tree.code():
        answer = subprocess.run([FORMATTER, "--dry-run", "-Werror", str(Path(tree.root, path))],
                                capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            line = re.search(r":(\d+):\d+: error", answer.stderr)
            yield f"{path}:{line.group(1) if line else 1}: got other formatting than {FORMATTER} -i writes, " \
                  "expected no difference"
