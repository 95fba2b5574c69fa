"""The architecture is a table: who may import whom, and what must start without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("h2q", "stream", "checkpoints", "tui")
NOTHING: tuple[str, ...] = ()
TABLE: dict[str, tuple[str, ...]] = {
    # A file or folder -> what of ours it may import (besides its own folder); the longest matching key counts.
    "stream": ("stream",),
    "checkpoints": ("checkpoints",),
    "checkpoints/export.py": ("checkpoints", "h2q"),
    "checkpoints/hf": ("checkpoints", "h2q"),
    "checkpoints/bare": ("checkpoints", "h2q"),
    "tui": ("tui", "h2q.train.snapshot", "h2q.train.board"),
    "h2q": ("h2q",),
    "h2q/kernels": ("h2q.kernels",),
    "h2q/optim": ("h2q.optim",),
    "h2q/vectors.py": ("h2q", "h2q.optim"),
    "h2q/train": ("h2q", "h2q.optim", "h2q.train", "stream", "checkpoints"),
    "h2q/train/snapshot.py": NOTHING,
    "h2q/train/board.py": ("h2q.train.snapshot", "h2q.train.viewer"),
    "h2q/train/viewer.py": NOTHING,
    "h2q/probe": ("h2q", "h2q.optim", "h2q.train", "h2q.probe", "stream", "checkpoints"),
    "h2q/commands": OURS,
    "main.py": ("h2q.commands",),
}
FORBIDDEN = {
    # Above `h2q` itself lie these, and the optimizers; an empty row lifts the ban for what lies in its folder.
    "h2q/commands": NOTHING,
    "h2q/kernels": NOTHING,
    "h2q/optim": NOTHING,
    "h2q/vectors.py": ("h2q.train", "h2q.commands", "h2q.probe"),
    "h2q": ("h2q.train", "h2q.commands", "h2q.probe", "h2q.optim"),
    "h2q/train": ("h2q.commands", "h2q.probe"),
    "h2q/probe": ("h2q.commands",),
    "checkpoints/export.py": ("h2q.train", "h2q.commands", "h2q.probe"),
}
TORCH_FREE = (
    "h2q.config",
    "h2q.presets",
    "h2q.recall_config",
    "h2q.train.config",
    "h2q.train.order",
    "h2q.train.run",
    "h2q.train.board",
    "h2q.train.herald",
    "h2q.train.score",
    "h2q.train.tally",
    "h2q.probe.anatomy",
    "h2q.train.adding",
    "h2q.train.claims",
    "h2q.train.obey",
    "h2q.probe.compressors",
    "h2q.probe.draw_architecture",
    "h2q.probe.draw_memories",
    "h2q.probe.history",
    "h2q.probe.references",
    "h2q.commands.train",
    "h2q.commands.compare",
    "h2q.commands.engine",
    "h2q.commands.detached",
    "h2q.commands.plot",
    "h2q.commands.reference",
    "h2q.commands.watch",
    "checkpoints.disk",
    "stream.apart",
    "stream.schemes",
    "stream.lanes",
    "stream.parts",
    "stream.prefetch",
    "tui.answering",
    "tui.app",
    "tui.behind",
    "tui.keeping",
    "tui.plain",
    "tui.prompting",
    "tui.reference",
    "tui.repl",
    "tui.turns",
    "tui.weighing",
)


def modules() -> list[Path]:
    """Every source file of ours, tests apart."""
    found = [ROOT / "main.py", *(path for part in OURS for path in sorted((ROOT / part).rglob("*.py")))]
    return [path for path in found if path.name != "__init__.py"]


def imports(path: Path) -> list[str]:
    """Modules of ours that a file imports, anywhere in it; `from h2q import recall` counts as h2q.recall."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            package = (ROOT / node.module.replace(".", "/")).is_dir()
            names += [f"{node.module}.{alias.name}" for alias in node.names] if package else [node.module]
    return [name for name in names if name.partition(".")[0] in OURS]


def within(name: str, layers: tuple[str, ...]) -> bool:
    """Whether a module is one of the layers or below one."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def row(table: dict[str, tuple[str, ...]], path: Path) -> tuple[str, ...]:
    """The longest key of the table that a file lies under."""
    place = path.relative_to(ROOT).as_posix()
    keys = [key for key in table if place == key or place.startswith(f"{key}/")]
    return table[max(keys, key=len)] if keys else NOTHING


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    allowed, forbidden = row(TABLE, path), row(FORBIDDEN, path)
    for name in imports(path):
        assert within(name, allowed), f"{path.name} imports {name}; it may import {allowed}"
        assert not within(name, forbidden), f"{path.name} imports {name}, a layer above it"


def test_package_files_are_empty_or_load_nothing() -> None:
    for part in OURS:
        for path in (ROOT / part).rglob("__init__.py"):
            said = path.read_text().strip()
            # The one package others import names from: what is asked for is loaded then.
            assert not said or path.parent.name == "optim", f"{path} is not empty"
    code = "import sys, h2q.optim.rule, h2q.optim; assert 'h2q.optim.torch_optimizers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_screens_streams_and_arguments_leave_torch_unloaded() -> None:
    script = f"import sys, importlib\nfor name in {TORCH_FREE!r}: importlib.import_module(name)\n"
    script += "import main; main.main(['--help']); main.main(['train', '--preset', 'nothing'])\n"
    script += "main.main(['compare', 'nothing']), main.main(['train', 'main.py', '--holdout', 'main.py'])\n"
    script += "sys.exit(1 if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
