"""Small tasks that a mechanism can do or cannot: what to read, what to answer, and where an answer is asked for.

    parity   bits, and after every bit whether the ones so far are odd       trained on up to 40 bits, tested on 256
    recall   pairs of key and value, some told anew, then the keys again     8, 16, 32 and 64 pairs
    copy     letters, a gap of noise, a sign, and the letters again          a gap of 100 bytes

A lesson is generated, never stored, from its own generator; the rows of one lesson have equal length. All bytes
are printable signs but the keys of recall, which are those above 127.
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
    """`pairs` distinct keys of 128, each with one of 64 values; a quarter of them told anew with another value; and all
    keys again, shuffled: the value told last is asked for."""
    again = pairs // 4
    keys = torch.stack([torch.randperm(128, generator=by)[:pairs] for _ in range(rows)]) + 128
    values = torch.randint(0, 64, (rows, pairs), generator=by)
    newer = (values[:, :again] + torch.randint(1, 64, (rows, again), generator=by)) % 64
    told = torch.stack((torch.cat((keys, keys[:, :again]), 1), torch.cat((values, newer), 1) + ord("0")), 2)
    last = torch.cat((newer, values[:, again:]), 1) + ord("0")
    order = torch.stack([torch.randperm(pairs, generator=by) for _ in range(rows)])
    asked_for = torch.stack((keys.gather(1, order), last.gather(1, order)), 2)
    text = torch.cat((told, asked_for), 1).flatten(1)
    asked = torch.zeros_like(text, dtype=torch.bool)
    asked[:, 2 * (pairs + again) + 1 :: 2] = True
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
    """A lesson, the sizes it is taught and examined at, the core that is to learn it and the switch that takes the
    mechanism away."""

    make: Callable[[int, int, Generator], Lesson]
    length: Callable[[int], int]
    """Bytes of a row of that size."""
    taught: tuple[int, ...]
    """Sizes, easy ones first."""
    examined: tuple[int, ...]
    last_only: bool
    """Whether only the last answer of a row counts in the examination."""
    steps: int
    mastered: float
    """Nats an answer below which the next size is taught as well."""
    settings: Mapping[str, str]
    """Of the core, unless the command line says otherwise."""
    without: Mapping[str, str]
    """Settings of the control, which should fail."""


ONE_BLOCK = {"blocks": "1", "hope.halflife_min": "1024", "hope.halflife_max": "65536"}
"""One mixer has to do it, and nothing is forgotten on the way."""
SURE = {"conv": "1", "hope.beta_bias": "3", "optim.eps": "1e-15"}
"""Parity is exact only where a key is one symbol's, and a write strength at its limit: what still pushes it there, once
every answer is nearly sure, is a tiny gradient."""
WHOLE = {"hope.decay": "off"}
"""Recall forgets nothing: or older values would fade, and newer ones be told from them without erasing."""
TASKS = {
    "parity": Task(
        parity,
        lambda bits: bits + 1,
        taught=(4, 8, 12, 20, 30, 40),
        examined=(256,),
        last_only=True,
        steps=3000,
        mastered=0.1,
        settings={**ONE_BLOCK, **SURE, "width": "64", "hope.heads": "4", "hope.period": "8"},
        without={"hope.negative": "off"},
    ),
    "recall": Task(
        recall,
        lambda pairs: 4 * pairs + 2 * (pairs // 4),
        taught=(4, 8, 16, 32, 64),
        examined=(8, 16, 32, 64),
        last_only=False,
        steps=3500,
        mastered=0.8,
        settings={**ONE_BLOCK, "width": "128", "hope.heads": "1", **WHOLE},
        without={"hope.erase": "off"},
    ),
    "copy": Task(
        copy,
        lambda gap: gap + 34,
        taught=(0, 10, 25, 50, 100),
        examined=(100,),
        last_only=False,
        steps=2500,
        mastered=0.5,
        settings={**ONE_BLOCK, "width": "128", "hope.heads": "1"},
        without={"hope.reset_bytes": "32"},
    ),
}
