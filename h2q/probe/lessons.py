"""Small tasks that a mechanism can do or cannot: what to read, what to answer, and where an answer is asked for.

    parity   bits, and after every bit whether the ones so far are odd       trained on up to 40 bits, tested on 256
    recall   pairs of key and value, then the keys again in another order    8, 16, 32 and 64 pairs
    copy     letters, a gap of noise, a sign, and the letters again          a gap of 100 bytes

A lesson is generated, never stored, from its own generator; the rows of one lesson have equal length. Bytes are those
of readable text, so that a lesson can be printed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Lesson(NamedTuple):
    """Bytes read (B, T), the answer expected at t from what came before t (B, T), and where one is asked for (B, T)."""

    bytes_BT: Tensor
    answers_BT: Tensor
    asked_BT: Tensor


def parity(rows: int, length: int, by: Generator) -> Lesson:
    """`length` random bits; asked after every one of them, with ordinary answers E(ven) and O(dd)."""
    bits = torch.randint(0, 2, (rows, length), generator=by)
    odd = bits.cumsum(1) % 2
    text = torch.cat((bits + ord("0"), torch.full((rows, 1), ord("="))), 1)
    answers = torch.cat((torch.full((rows, 1), ord("E")), torch.where(odd == 1, ord("O"), ord("E"))), 1)
    asked = torch.ones_like(text, dtype=torch.bool)
    asked[:, 0] = False
    return Lesson(text, answers, asked)


def recall(rows: int, pairs: int, by: Generator) -> Lesson:
    """`pairs` distinct keys of 128, each with one of 64 values, and all again, shuffled: the values are asked for."""
    keys = torch.stack([torch.randperm(128, generator=by)[:pairs] for _ in range(rows)]) + 128
    values = torch.randint(0, 64, (rows, pairs), generator=by) + ord("0")
    order = torch.stack([torch.randperm(pairs, generator=by) for _ in range(rows)])
    told = torch.stack((keys, values), 2).flatten(1)
    again = torch.stack((keys.gather(1, order), values.gather(1, order)), 2).flatten(1)
    text = torch.cat((told, again), 1)
    asked = torch.zeros_like(text, dtype=torch.bool)
    asked[:, 2 * pairs + 1 :: 2] = True
    return Lesson(text, text, asked)


def copy(rows: int, gap: int, by: Generator) -> Lesson:
    """Sixteen letters of 48 after a sign, `gap` bytes of noise from other ones, the sign, and the letters again."""
    letters = torch.randint(0, 48, (rows, 16), generator=by) + ord("A")
    noise = torch.randint(0, 10, (rows, gap), generator=by) + ord("0")
    sign = torch.full((rows, 1), ord(">"))
    text = torch.cat((sign, letters, noise, sign, letters), 1)
    asked = torch.zeros_like(text, dtype=torch.bool)
    asked[:, -16:] = True
    return Lesson(text, text, asked)


@dataclass(frozen=True)
class Task:
    """A lesson, the sizes it is taught and examined at, and the switch that takes the mechanism away."""

    make: Callable[[int, int, Generator], Lesson]
    taught: tuple[int, ...]
    """Sizes drawn from while learning, easy ones first."""
    examined: tuple[int, ...]
    last_only: bool
    """Whether only the last answer of a row counts in the examination."""
    steps: int
    rows: int
    without: Mapping[str, str]
    """Settings of the control, which should fail; none where there is no control yet."""


TASKS = {
    "parity": Task(parity, tuple(range(1, 41)), (256,), True, 1500, 64, {"hope.negative": "off"}),
    "recall": Task(recall, (4, 8, 16, 32, 64), (8, 16, 32, 64), False, 1200, 32, {"hope.erase": "off"}),
    "copy": Task(copy, (0, 10, 25, 50, 100), (100,), False, 1200, 32, {}),
}
