"""The definition of `cpu_successors` in plain torch: every position at once, notes one by one."""

import torch
from torch import Tensor

FOLD, STIR = -7046029254386353131, -4658895280553007687
FIRST, RUN, KNOWN, CHECK, SLOT = 0, 3, 4, 5, 6
"""Bytes of a slot: three successors, newest first; how often the newest came in a row; how many are known; a check."""
NOTHING = 256
"""The candidate where nothing is known."""
BREAK = 300
"""What stands for what parts two words."""
SYMBOLS, WORDS, PHRASE = 0, 1, 2
"""What a plan's context is made of."""


def fold(key: Tensor, symbol: Tensor) -> Tensor:
    """The hash of what `key` hashes, then `symbol`; int64 arithmetic that wraps."""
    key = (key + symbol + 1) * FOLD
    return key ^ ((key >> 29) & 0x7FFFFFFFF)


def spelled(symbol: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a symbol is part of a word, and its lower case."""
    upper = (symbol >= 65) & (symbol <= 90)
    lower, digit = (symbol >= 97) & (symbol <= 122), (symbol >= 48) & (symbol <= 57)
    part = upper | lower | digit | ((symbol >= 128) & (symbol < NOTHING))
    return part, torch.where(upper, symbol + 32, symbol)


def trace(joined: Tensor, plan: Tensor, keys: Tensor) -> None:
    """keys (B, T, C): the hash of each context that ends at each of the last T symbols of joined (B, K + T).

    plan (C, 3): how many to skip, how many to take, and of what: SYMBOLS; WORDS, letters and digits, parted by anything
    else, however much of it; or a PHRASE, words parted by one symbol, which a second one ends. A BREAK is folded
    between two words; the first may be empty.
    """
    length, reach = keys.shape[1], joined.shape[1] - keys.shape[1] + 1

    def back(k: int) -> Tensor:
        return joined[:, reach - 1 - k : reach - 1 - k + length]

    for c, (skip, take, kind) in enumerate(plan.tolist()):
        key = torch.full_like(back(0), c)
        if kind == SYMBOLS:
            for k in range(skip, skip + take):
                key = fold(key, back(k))
        else:
            index, parted, ended = torch.zeros_like(key), *(torch.zeros_like(key, dtype=torch.bool) for _ in range(2))
            for k in range(reach):
                part, lower = spelled(back(k))
                ended = ended | (~part & parted & (kind == PHRASE))
                ends = ~part & ~parted
                index, parted = index + ends.long(), ~part
                taken = (index >= skip) & (index < skip + take) & ~ended
                key = torch.where(part & taken, fold(key, lower), key)
                key = torch.where(ends & taken & (index > skip), fold(key, torch.full_like(key, BREAK)), key)
        keys[:, :, c] = (key ^ (key >> 32)) * STIR


def consult(table: Tensor, keys: Tensor, found: Tensor, runs: Tensor) -> None:
    """found (B, T, C, 3): the bytes that followed, newest first, NOTHING where none; runs (B, T, C): 0 if unknown."""
    slots = table[torch.arange(len(table), device=keys.device), (keys >> 24) & (table.shape[1] - 1)].long()
    known = torch.where(slots[..., CHECK] == (keys >> 8) & 255, slots[..., KNOWN], 0)
    kept = torch.arange(RUN, device=keys.device) < known[..., None]
    found[:] = torch.where(kept, slots[..., FIRST:RUN], NOTHING)
    runs[:] = torch.where(known > 0, slots[..., RUN], 0)


def note(table: Tensor, keys: Tensor, followed: Tensor, taken: Tensor) -> None:
    """Write the byte (B, T) that followed each context where taken (B, T), row by row, in the order of time.

    A byte that was the second newest moves to the front, any other pushes the oldest out; a slot of another context
    is taken over.
    """
    contexts = torch.arange(len(table))
    for b, t in taken.nonzero().tolist():
        rows, checks = (keys[b, t] >> 24) & (table.shape[1] - 1), (keys[b, t] >> 8) & 255
        slots, byte = table[contexts, rows].long(), int(followed[b, t])
        first, second, third, run, known, check = slots.unbind(1)
        known = torch.where(check == checks, known, 0)
        again = (known > 0) & (first == byte)
        third = torch.where((known > 1) & (second == byte), third, second)
        grown = torch.where((known > 1) & (slots[:, 1] == byte), known, (known + 1).clamp_max(3))
        new = torch.stack((torch.full_like(first, byte), first, third, torch.ones_like(run), grown, checks), 1)
        same = torch.stack((first, second, slots[:, 2], (run + 1).clamp_max(255), known, checks), 1)
        table[contexts, rows] = torch.where(again[:, None], same, new).to(table.dtype)
