"""Associative memories: keys and values written one after the other, and read back by a query (hope.md 5).

    hebbian  M <- a M + eta v k^T                          adds up; what keys share interferes
    delta    M <- a M - eta (M k - v) k^T                  first removes what the key held
    oja      M <- a M + eta v (k - M^T v)^T                forgets along the value instead of the key
    pairs    softmax(q . k_i) over the last pairs          non-parametric: nothing is summed up, nothing is learned

The three rules are the chunked delta kernel with other arguments, exact for every byte; a read always uses what was
written. The mixers `delta`, `hope` and `softmax` are built of these functions; `AssociativeMemory` is them as a module.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import RULES
from h2q.delta import delta_rule
from h2q.settings import ConfigError, require
from h2q.state import last_items

FORMS = ("linear", "pairs")


def remember(
    rule: str, q: Tensor, k: Tensor, v: Tensor, eta: Tensor, log_a: Tensor, M: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Write (k, v) for every byte and read it with q afterwards: o (B, H, T, dv), and the memory.

    q, k (B, H, T, dk), k of length 1 (of oja: v of length 1); v (B, H, T, dv); eta, log_a (B, H, T), the rate and the
    log of what is kept; M (B, H, dv, dk). delta: eta <= 2 exp(log_a), oja: eta <= exp(log_a), or it may grow.
    """
    if rule == "oja":  # the delta rule of the transpose, whose keys are the values
        o, Z = delta_rule(q, v, eta[..., None] * k, log_a, eta, M.mT, chunk, transposed=True)
        return o, Z.mT
    return delta_rule(q, k, eta[..., None] * v, log_a, eta if rule == "delta" else torch.zeros_like(eta), M, chunk)


def recollect(q: Tensor, keys: Tensor, values: Tensor, seen: Tensor, scale: float | None = None) -> Tensor:
    """Softmax attention: the mean of values, each counted by how its key answers the query (Nadaraya-Watson).

    q (B, H, T, n); keys, values (B, H, t, n); seen (B, 1 or H, T, t) bool -> (B, H, T, n). scale: n^-1/2 unless given.
    """
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=seen, scale=scale)


class PairState(NamedTuple):
    """The last pairs (B, H, capacity, d) and how many there are (B,)."""

    keys: Tensor
    values: Tensor
    seen: Tensor


class AssociativeMemory(nn.Module):
    """A memory to write to and read from: linear, by one of three rules, or the last `capacity` pairs themselves.

    State in, state out: `M = memory.zeros(lanes)`, `M = memory.write(k, v, M)`, `y = memory.read(q, M)`. Keys are
    normalised here; lanes and heads are independent. Raises ConfigError for a rule where there is nothing to rule.
    """

    def __init__(
        self,
        keys: int,
        values: int,
        *,
        heads: int = 1,
        rule: str | None = None,
        form: str = "linear",
        capacity: int = 64,
    ) -> None:
        super().__init__()
        require(form in FORMS, f"An associative memory is {' or '.join(FORMS)}, not {form!r}.")
        if form == "pairs" and rule is not None:
            raise ConfigError("A memory of pairs keeps them as they are: it has no rule.")
        self.rule = rule or "delta"
        require(self.rule in RULES, f"The rules of an associative memory are {', '.join(RULES)}; not {rule!r}.")
        self.keys, self.values, self.heads, self.form, self.capacity = keys, values, heads, form, capacity

    def zeros(self, lanes: int, like: Tensor | None = None) -> Tensor | PairState:
        """Lanes in which nothing was written, in the type of `like`."""
        like = torch.empty(0) if like is None else like
        if self.form == "linear":
            return like.new_zeros(lanes, self.heads, self.values, self.keys)
        sizes = (self.keys, self.values)
        keys, values = (like.new_zeros(lanes, self.heads, self.capacity, size) for size in sizes)
        return PairState(keys, values, torch.zeros(lanes, dtype=torch.long, device=like.device))

    def write(
        self, k: Tensor, v: Tensor, state: Tensor | PairState, eta: Tensor | float = 1.0, alpha: Tensor | float = 1.0
    ) -> Tensor | PairState:
        """The memory after k (B, H, T, dk) and v (B, H, T, dv), in order; eta and alpha (B, H, T), or one for all.

        A memory of pairs has no rates.
        """
        k, v = self.unit(k, v)
        if isinstance(state, PairState):
            keys, values = (kept(old, new) for old, new in ((state.keys, k), (state.values, v)))
            return PairState(keys, values, (state.seen + k.shape[2]).clamp_max(self.capacity))
        rates, log_a = (torch.as_tensor(x, dtype=k.dtype).expand(k.shape[:3]) for x in (eta, alpha))
        return remember(self.rule, k, k, v, rates, log_a.log(), state, min(32, k.shape[2]))[1]

    def read(self, q: Tensor, state: Tensor | PairState) -> Tensor:
        """What the memory holds for queries (B, H, T, dk): (B, H, T, dv)."""
        q = F.normalize(q, dim=-1)
        if isinstance(state, Tensor):
            return q @ state.mT
        place = torch.arange(self.capacity, device=q.device)
        there = place >= self.capacity - state.seen[:, None]
        return recollect(q, state.keys, state.values, there[:, None, None], scale=self.keys**0.5)

    def unit(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What a rule needs of length 1: keys, and values for Oja's."""
        return F.normalize(k, dim=-1), F.normalize(v, dim=-1) if self.rule == "oja" else v


def kept(old: Tensor, new: Tensor) -> Tensor:
    """The last `capacity` of old and new (B, H, n, d)."""
    return last_items(old.flatten(0, 1), new.flatten(0, 1), None).view(old.shape)
