"""How this process uses the CPU: its threads, its memory, and which library multiplies its matrices.

On a CPU torch offers two routines for float32 products. The one behind "medium" (oneDNN) was 2.3 times faster than the
default here, equal to seven digits; on processors with matrix units for bfloat16 it may round the factors to that type
and still add up in float32. Products in other types, and on a GPU, are not touched by what a CPU run asks for.
"""

import torch

from h2q.kernels.memory import keep_freed_memory


def settle(threads: int) -> None:
    """Take this many threads (0: what torch would take), the fast float32 products, and keep memory once taken."""
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.set_float32_matmul_precision("medium")
    keep_freed_memory()
