"""Every header of include/ compiles alone: python3 tests/headers/check.py [--root FOLDER] [-j JOBS]

SPDX-License-Identifier: MIT

Most of the time goes into what headers include, which is nearly the same for all. So headers are compiled in chains: a
file includes several of them, each of which includes, directly or not, all that come before it. Such a header finds
nothing that it would not have included itself: it stands as alone as in a file of its own. What it includes below its
first line of code, or under a condition, does not count. The fewest chains that hold every header are a matching: of each
header with the next of its chain.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mutations"))
from compiler import eigen_flags, package_flags  # noqa: E402

FLAGS = ["-std=c++20", "-fsyntax-only", "-fopenmp", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wno-sign-conversion", "-Werror"]
INCLUDE = re.compile(r"#\s*include\s*<([^>]+)>")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def first_includes(text):
    """What a header includes before its first line of code and under no condition."""
    depth = 0
    for line in filter(None, map(str.strip, COMMENT.sub("", text).splitlines())):
        if not line.startswith("#"):
            return
        if re.match(r"#\s*(if|endif)", line):
            depth += -1 if "endif" in line else 1
        elif depth == 0 and (match := INCLUDE.match(line)):
            yield match.group(1)


def reachable(include):
    """For each header below the folder, the headers there that it includes, directly or not."""
    names = sorted(str(path.relative_to(include)) for path in include.rglob("*.h*"))
    direct = {name: [n for n in first_includes((include / name).read_text()) if n in names] for name in names}
    closures = {}
    for name in names:
        found, waiting = set(), list(direct[name])
        while waiting:
            header = waiting.pop()
            if header not in found:
                found.add(header)
                waiting += direct[header]
        closures[name] = found - {name}
    return closures


def chains(closures):
    """The fewest lists that hold every header once, each header reaching all that stand before it in its list."""
    before = {}

    def match(header, tried):
        for later in closures:
            if header in closures[later] and later not in closures[header] and later not in tried:
                tried.add(later)
                if later not in before or match(before[later], tried):
                    before[later] = header
                    return True
        return False

    for header in sorted(closures, key=lambda name: (len(closures[name]), name)):
        match(header, set())
    after = {header: later for later, header in before.items()}
    result = [[header] for header in closures if header not in before]
    for chain in result:
        while chain[-1] in after:
            chain.append(after[chain[-1]])
    return result


def compile_chain(cxx, flags, folder, number, chain):
    """Nothing when the chain compiles, else what the compiler said."""
    source = Path(folder) / f"chain_{number}.cpp"
    source.write_text("".join(f"#include <{header}>\n" for header in chain))
    answer = subprocess.run([*cxx, *flags, str(source)], capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else answer.stderr or f"{shlex.join(cxx)}: exit {answer.returncode}"


def check(include, cxx, jobs):
    """Number of headers and of chains, and what the compiler said to those that do not compile."""
    closures = reachable(include)
    # The longest work first, so that no core is left with it at the end.
    lists = sorted(chains(closures), key=lambda chain: -len(closures[chain[-1]]))
    flags = [*FLAGS, f"-I{include}", *eigen_flags(), *package_flags("stb", ["/usr/include/stb", "/usr/local/include/stb"])]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        answers = pool.map(lambda item: compile_chain(cxx, flags, folder, *item), enumerate(lists))
        return len(closures), len(lists), [answer for answer in answers if answer]


def main():
    parser = argparse.ArgumentParser(description="Every header of include/ compiles alone.")
    parser.add_argument("--root", type=Path, default=HERE.parents[1], help="source tree")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cxx", default=os.environ.get("CXX", "c++"))
    options = parser.parse_args()
    headers, lists, problems = check(options.root.resolve() / "include", shlex.split(options.cxx), options.jobs)
    print(*problems, sep="\n", end="")
    print(f"headers: {headers} in {lists} chains, {len(problems)} chains do not compile")
    return 1 if problems or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
