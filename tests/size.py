"""What `make size` prints: lines of every source file, the longest functions, the total. House rule: 300 and 60.

Exit code 1 when a file or function is longer than the rule allows (kernels may have 400 lines).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = ("main.py", "h2q", "stream", "checkpoints", "tui", "tests")
FILE_LINES, KERNEL_LINES, FUNCTION_LINES = 300, 400, 60
SHOWN = 12


class Length(NamedTuple):
    """Something that has lines."""

    lines: int
    name: str
    limit: int


def files() -> list[Length]:
    """Every source file, longest first."""
    paths = [
        path for part in PARTS for path in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))
    ]
    found = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        limit = KERNEL_LINES if name.startswith("h2q/kernels/") else FILE_LINES
        found.append(Length(len(path.read_text(encoding="utf-8").splitlines()), name, limit))
    return sorted(found, reverse=True)


def functions(name: str) -> Iterator[Length]:
    """Every function of a file."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Length((node.end_lineno or node.lineno) - node.lineno + 1, f"{name} {node.name}", FUNCTION_LINES)


def show(title: str, found: list[Length], count: int) -> None:
    """A table, what is too long marked."""
    print(title)
    for one in found[:count]:
        print(f"{one.lines:6} {'!' if one.lines > one.limit else ' '} {one.name}")


def main() -> int:
    """Print the tables; 1 if anything is too long."""
    every = files()
    longest = sorted((one for file in every for one in functions(file.name)), reverse=True)
    show("lines of each file", every, len(every))
    show("longest functions", longest, SHOWN)
    for part in PARTS:
        print(f"{sum(one.lines for one in every if one.name.startswith(part)):6}   {part}")
    print(f"{sum(one.lines for one in every):6}   in all")
    return int(any(one.lines > one.limit for one in every + longest))


if __name__ == "__main__":
    sys.exit(main())
