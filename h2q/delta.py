"""The delta rule, chunked: fast weights written every byte, exact for any block size (hope.md 1.9, 1.10).

    S_t = S_{t-1} (a_t I - b_t k_t k_t^T) + u_t k_t^T                          o_t = S_t q_t      `delta_rule`
    P_t = m_t P_{t-1} + u_t k_t^T,   S_t = S_{t-1} (a_t I - b_t k_t k_t^T) + P_t                  `momentum_rule`

Inside a block of C bytes one unit-lower triangular solve turns the recurrence into matrix products; blocks follow each
other. b = 0 is Hebbian, b = a beta the gated delta rule, u an error frozen at a chunk's start Titans' own: what is
written is the caller's affair. Never divides by a, so strong forgetting is safe; the triangular solve stays bounded
for repeated keys of length 1 and b <= 2. The block size changes speed, never the answer.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from h2q.delta_block import DeltaBlock, decays, solve


def delta_rule(
    q: Tensor,
    k: Tensor,
    u: Tensor,
    log_a: Tensor,
    b: Tensor,
    S: Tensor,
    chunk: int,
    read: slice = slice(None),
    *,
    transposed: bool = False,
) -> tuple[Tensor, Tensor]:
    """Read after write for every byte, and the last state.

    q, k (B, H, T, dk); u (B, H, T, dv); log_a <= 0 and b (B, H, T); S (B, H, dv, dk) -> o (B, H, T, dv), S.
    `read` says which of the dv rows are read: o has only those. transposed: o_t = S_t^T q_t of q (B, H, T, dv), which
    reads what was written under the values (Oja's rule).
    """
    blocks = Blocks.of(q.shape[2], chunk)
    if blocks.many == 1 and not transposed:
        first, last, _ = read.indices(u.shape[-1])
        return DeltaBlock.apply(q, k, u, log_a, b, S, first, last)  # type: ignore[no-any-return, no-untyped-call]
    q, k, u, log_a, b = (blocks.cut(x) for x in (q, k, u, log_a, b))  # a padded byte keeps everything, writes nothing
    c = log_a.cumsum(-1)
    before = c - log_a
    L = b[..., None] * decays(before, c, 1) * (k @ k.mT)
    solved = solve(L, torch.cat((u, (b * before.exp())[..., None] * k), -1))
    own, erased = torch.split(solved, [u.shape[-1], k.shape[-1]], -1)
    # Post-write read: o_t sees the writes i <= t, decayed by exp(c_t - c_i).
    fading = decays(c, c, 0)
    score = fading if transposed else fading * (q @ k.mT)
    faded_q, faded_k = c.exp()[..., None] * q, (c[..., -1:] - c).exp()[..., None] * k
    keep, outputs = c[..., -1].exp()[..., None, None], []
    for i in range(blocks.many):
        writes = own[:, :, i] - erased[:, :, i] @ S.mT
        if transposed:
            outputs.append(faded_q[:, :, i] @ S + (score[:, :, i] * (q[:, :, i] @ writes.mT)) @ k[:, :, i])
        else:
            outputs.append(faded_q[:, :, i] @ S[:, :, read].mT + score[:, :, i] @ writes[..., read])
        S = keep[:, :, i] * S + writes.mT @ faded_k[:, :, i]
    return blocks.joined(outputs), S


class Moving(NamedTuple):
    """What is remembered, and the momentum of its writes: (B, H, dv, dk) each."""

    S: Tensor
    P: Tensor


def momentum_rule(
    q: Tensor,
    k: Tensor,
    u: Tensor,
    log_a: Tensor,
    b: Tensor,
    log_m: Tensor,
    state: Moving,
    chunk: int,
    read: slice = slice(None),
    real: Tensor | None = None,
) -> tuple[Tensor, Moving]:
    """The same with past surprise (hope.md 1.10.2; Titans 13-14): log_m <= 0 (B, H, T); the rest as `delta_rule`.

    real (B, 1 or H, T) is 0 where a byte is padding: its log_a, b, u and log_m are 0, and momentum waits as well.
    """
    blocks = Blocks.of(q.shape[2], chunk)
    counts = torch.ones_like(log_a) if real is None else real.to(log_a.dtype).expand_as(log_a)
    q, k, u, log_a, b, log_m, counts = (blocks.cut(x) for x in (q, k, u, log_a, b, log_m, counts))
    c, m = log_a.cumsum(-1), log_m.cumsum(-1)
    before = c - log_a
    kept, moved = decays(c, c, 0) * counts[..., None, :], decays(m, m, 0)
    written, carried = kept @ moved, kept @ m.exp()[..., None]  # of u_s and of P_0, in S_t
    shifted = F.pad(written, (0, 0, 1, 0))[..., :-1, :]
    late = F.pad(carried, (0, 0, 1, 0))[..., :-1, :]
    same, start = k @ k.mT, before.exp()[..., None]
    right = torch.cat(((shifted * same) @ u, start * k, late * k), -1)
    solved = solve(decays(before, c, 1) * b[..., None, :] * same, right)
    own, of_S, of_P = torch.split(solved, [u.shape[-1], k.shape[-1], k.shape[-1]], -1)
    seen, erased, outputs = q @ k.mT, b[..., None], []
    write_score, erase_score = written * seen, decays(c, c, 0) * seen
    last = written[..., -1:, :].mT * k, decays(c, c, 0)[..., -1:, :].mT * k, decays(m, m, 0)[..., -1:, :].mT * k
    S, P = state
    for i in range(blocks.many):
        at = (slice(None), slice(None), i)
        erasing = erased[at] * (own[at] + of_S[at] @ S.mT + of_P[at] @ P.mT)
        from_S = c[at].exp()[..., None] * (q[at] @ S[:, :, read].mT) + carried[at] * (q[at] @ P[:, :, read].mT)
        outputs.append(from_S + write_score[at] @ u[at][..., read] - erase_score[at] @ erasing[..., read])
        ends = (
            c[at][..., -1].exp()[..., None, None],
            carried[at][..., -1, :, None],
            m[at][..., -1].exp()[..., None, None],
        )
        S, P = (
            ends[0] * S + ends[1] * P + u[at].mT @ last[0][at] - erasing.mT @ last[1][at],
            ends[2] * P + u[at].mT @ last[2][at],
        )
    return blocks.joined(outputs), Moving(S, P)


class Blocks(NamedTuple):
    """How T bytes are cut into `many` blocks of equal size, the last one padded."""

    length: int
    size: int
    many: int

    @classmethod
    def of(cls, length: int, chunk: int) -> "Blocks":
        """As few blocks of at most `chunk` bytes as hold so many."""
        size = min(chunk, length)
        return cls(length, size, -(-length // size))

    def cut(self, x: Tensor) -> Tensor:
        """(B, H, T, ...) -> (B, H, blocks, C, ...), zeros behind the end."""
        pad = self.size * self.many - self.length
        if pad:
            x = F.pad(x, (0, 0) * (x.dim() - 3) + (0, pad))
        return x.reshape(*x.shape[:2], self.many, self.size, *x.shape[3:])

    def joined(self, outputs: list[Tensor]) -> Tensor:
        """Blocks (B, H, C, d) one behind the other, without the padding."""
        return torch.cat(outputs, 2)[:, :, : self.length]
