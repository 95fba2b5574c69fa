"""The source of the model, cut out of this program: some modules of `h2q` and everything of `h2q` they import.

    "h2q.model" --imports, followed--> {"h2q.model": text, "h2q.block": text, ...}
    flat:  h2q/kernels/cpu.py -> kernels_cpu.py,  "from h2q.kernels.cpu import x" -> "from .kernels_cpu import x"

An export ships the very files the run was made with, so there is one implementation of the mathematics. Promises: the
result is closed (nothing in it imports another part of this program) and the texts differ from the originals in those
import lines alone.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "h2q"
_IMPORT = re.compile(r"^(\s*)from h2q\.([\w.]+) import ", re.MULTILINE)


def sources(roots: Iterable[str]) -> dict[str, str]:
    """Dotted name -> source text of the named modules and all modules of h2q they need, in the order of their names."""
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = (_root() / file_name(name)).read_text(encoding="utf-8")
            waiting += _imported(found[name])
    return dict(sorted(found.items()))


def flattened(text: str) -> str:
    """The source with its imports of h2q pointing at siblings in one folder."""
    flat = _IMPORT.sub(lambda line: f"{line[1]}from .{line[2].replace('.', '_')} import ", text)
    if left := _imported(flat):
        raise ValueError(f"only 'from h2q.module import name' can be flattened, not an import of {left[0]}")
    return flat


def file_name(module: str) -> str:
    """File of a module below the folder that holds the package."""
    return module.replace(".", "/") + ".py"


def flat_name(module: str) -> str:
    """File of a module of h2q in a flat folder."""
    return module.removeprefix(f"{PACKAGE}.").replace(".", "_") + ".py"


def _imported(text: str) -> list[str]:
    """Modules of h2q that a source imports, anywhere in it; `from h2q.kernels import cpu` may name a module too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith(f"{PACKAGE}.") and (_root() / file_name(name)).is_file()]


def _root() -> Path:
    """The folder that holds the package h2q."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no package {PACKAGE}", name=PACKAGE)
    return Path(spec.origin).parents[1]
