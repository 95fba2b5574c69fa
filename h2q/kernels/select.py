"""The one switch between the compiled kernels and their slow twin."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def kernels() -> Any:
    """`h2q.kernels.cpu`."""
    from h2q.kernels import cpu

    return cpu
