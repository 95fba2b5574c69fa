"""The interface paints before torch loads: no module of it imports torch, in a fresh process."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import tui
names = [module.name for module in pkgutil.walk_packages(tui.__path__, "tui.")]
for name in names:
    importlib.import_module(name)
foreign = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "stream", "checkpoints", "numba"})
ours = sorted(name for name in sys.modules if name.startswith("h2q.") and not name.startswith("h2q.train"))
print(len(names) > 15, foreign, ours)
"""


def test_every_module_of_the_tui_loads_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True [] []"
