"""Writes the whole programs that Markdown pages show as files: python3 tests/docs/programs.py OUTPUT_FOLDER ROOT PAGE ...

SPDX-License-Identifier: MIT

Every ```cpp block with a main() becomes OUTPUT_FOLDER/<page>_<number>.cpp, where <page> is the path below ROOT with
underscores, written only when it changed; the names are printed, one a line. The build compiles them and the tests run them, so that no page shows a program that does not work.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(?:cpp|c\+\+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def programs(markdown):
    """(line number, text) of every block that holds a whole program."""
    for match in BLOCK.finditer(markdown):
        if "int main(" in match.group(1):
            yield markdown.count("\n", 0, match.start(1)) + 1, match.group(1)


def main(output, root, pages):
    Path(output).mkdir(parents=True, exist_ok=True)
    for page in map(Path, pages):
        name = "_".join(page.relative_to(root).with_suffix("").parts).lower()
        for number, (line, text) in enumerate(programs(page.read_text(encoding="utf-8")), start=1):
            target = Path(output, f"{name}_{number}.cpp")
            # Compiler messages name the page and its line.
            text = f'#line {line} "{page}"\n{text}'
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                target.write_text(text, encoding="utf-8")
            print(target)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("programs.py: got too few arguments, expected OUTPUT_FOLDER ROOT PAGE ...")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
