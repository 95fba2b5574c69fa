"""How this process uses the CPU: its threads, its memory, and which library multiplies its matrices.

On a CPU torch offers two routines for float32 products. The one behind "medium" (oneDNN) is up to 2.3 times faster than
the default and equal to seven digits, except on processors with matrix units for bfloat16 (AMX), where it rounds the
factors to three digits: a run would no longer be the one that another machine makes. So it is tried once, and taken
only where nothing is rounded. Products in other types, and on a GPU, are not touched by what a CPU run asks for.

`together` runs a few large jobs side by side. A micro-batch of a few hundred bytes is hundreds of operations too small
to be divided one by one: waking a second thread for each costs more than it helps.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from h2q.kernels.memory import keep_freed_memory

T = TypeVar("T")


def settle(threads: int) -> None:
    """Take this many threads an operation, the fast float32 products, and keep memory once taken."""
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(exact_products())
    keep_freed_memory()


@functools.cache
def exact_products() -> str:
    """The name of the fastest routine for products that gives every digit of float32 on this processor."""
    numbers = torch.linspace(1.0, 2.0, 64 * 64).reshape(64, 64)
    exact = numbers.double() @ numbers.double()
    torch.set_float32_matmul_precision("medium")
    rounded = (numbers @ numbers).double().sub(exact).abs().max() > 1e-5 * exact.max()
    return "highest" if rounded else "medium"


@functools.cache
def helpers(name: str, count: int) -> ThreadPoolExecutor:
    """Threads that work beside the caller."""
    return ThreadPoolExecutor(count, name)


def beside(job: Callable[[], T]) -> Future[T]:
    """Begin the job on a thread of its own."""
    return helpers("beside", 1).submit(job)


def here(job: Callable[[], T]) -> Future[T]:
    """The same promise, kept at once by the caller."""
    done: Future[T] = Future()
    done.set_result(job())
    return done


def together(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """What each job gives, in order: the first runs here, the rest beside it, each on as many threads as this one."""
    if len(jobs) == 1:
        return [jobs[0]()]
    threads = torch.get_num_threads()

    def as_here(job: Callable[[], T]) -> T:
        torch.set_num_threads(threads)  # a thread counts for itself
        return job()

    rest = [helpers("together", len(jobs) - 1).submit(as_here, job) for job in jobs[1:]]
    try:
        first = jobs[0]()
    finally:  # nobody may still be at work on what the caller cleans up
        errors = [one.exception() for one in rest]
    for error in errors:
        if error is not None:
            raise error
    return [first, *(one.result() for one in rest)]
