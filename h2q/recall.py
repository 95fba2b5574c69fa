"""Recall: what the bytes read so far say about the next one, bit by bit, mixed with what the network says.

    lookup   tables, contexts, bytes  -> found      addresses, counts and inputs of the 8 bits of every byte
    score    mixer, found, core       -> scored     bits of the mixture and of recall alone, before the mixer learns
    count    found, bytes             -> tables     what was looked up is counted, in fixed order, in integers
    conclude found, scored            -> tables     the final maps learn how right the scored logits were
    advance  contexts, bytes          -> contexts   the lanes move on
    expand   mixer, tables, contexts  -> probabilities of all 256 bytes, the same arithmetic as score

A byte is eight binary decisions, high bit first; its probability is their product, so the 256 probabilities sum to one
by construction. The address of a bit depends on the bytes before it and on the higher bits of its own byte, never on
itself. `lookup` changes nothing: any chunking of it gives the same bits. `h2q.recall_follow` looks up and counts in
turn. All of it runs on the CPU; logits and hidden states of another device are brought here and their gradients taken
back.

The final maps learn by counting: the gradient is that of the logit before them (a straight-through pass), the reported
bits are those after them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from h2q.kernels.select import kernels
from h2q.recall_classes import KINDS, LENGTH_CLASS, LOGS, QUANT, worth
from h2q.recall_config import CATALOGUE, PARENTS
from h2q.recall_contexts import RecallContexts, anew, zeros
from h2q.recall_mixer import RecallMixer, mix_alone, mix_core
from h2q.recall_tables import BUCKETS, RecallTables, allocate

__all__ = [
    "Found",
    "RecallContexts",
    "RecallMixer",
    "RecallTables",
    "Scored",
    "advance",
    "allocate",
    "anew",
    "conclude",
    "count",
    "expand",
    "lookup",
    "score",
    "zeros",
]

BITS = 1.0 / float(np.log(2.0))
STATE_LIMIT = 65535
KEEP = 2
"""A slot with at most this many visits gives way to a newcomer."""
WORD_MARKS = {"word": 1, "word+1": 2, "word+2": 4}
ORDER_MARK = 8


class Found(NamedTuple):
    """Everything looked up for P = B x T positions and J bits of each; numpy arrays on the CPU.

    valid_P: inside its row; written_P: and to be learned; nodes_PJ, bits_PJ, depths_J: the decisions; lanes_B: whose
    history; hashes_PN: context addresses; near_PF: the last two bytes; matched_PM2: match length and predicted byte;
    keys_PM: where to note a repeat; states_PJN: slot states; inputs_PJK, rows_PJS: what is mixed and by which weights;
    places_PJA: rows of the final maps; hits: share of positions where each context was known.
    """

    shape: tuple[int, int]
    valid_P: Any
    written_P: Any
    nodes_PJ: Any
    bits_PJ: Any
    depths_J: Any
    lanes_B: Any
    hashes_PN: Any
    near_PF: Any
    matched_PM2: Any
    keys_PM: Any
    states_PJN: Any
    inputs_PJK: Any
    rows_PJS: Any
    places_PJA: Any
    hits: dict[str, float]


class Scored(NamedTuple):
    """bits_BT: of the mixture (of recall alone without a core); bits_recall_BT: recall alone; 0 where padded.

    Both carry gradients, the second to `RecallMixer.alone` only. `logits` are what `write` teaches the final maps.
    """

    bits_BT: Tensor
    bits_recall_BT: Tensor
    logits: tuple[Any, ...]
    hits: dict[str, float]


def lookup(
    tables: RecallTables,
    contexts: RecallContexts,
    bytes_BT: Tensor,
    lengths_B: Tensor | None = None,
    written_BT: Tensor | None = None,
) -> Found:
    """Follow the 8 bits of every byte: bytes (B, T) uint8 or int64; lengths (B,) valid prefix, all when None.

    written (B, T) bool: False marks bytes that are read and scored but not learned. Changes nothing.
    """
    data, lengths = _arrays(bytes_BT, lengths_B)
    valid = (np.arange(data.shape[1])[None] < lengths[:, None]).ravel()
    written = valid if written_BT is None else valid & written_BT.cpu().numpy().ravel()
    flat, depths = data.reshape(-1, 1).astype(np.int64), np.arange(8)
    nodes, bits = (flat | 256) >> (8 - depths), (flat >> (7 - depths)) & 1
    return _find(tables, contexts, data, lengths, valid, written, nodes, bits, depths)


def score(
    mixer: RecallMixer,
    tables: RecallTables,
    found: Found,
    core_logits_BTV: Tensor | None = None,
    hidden_BTD: Tensor | None = None,
) -> Scored:
    """Bits of every byte under the mixture with the core's logits (B, T, 256), and under recall alone.

    The results lie on the core's device. ValueError where a core is given and the mixer was made without a width.
    """
    logits = [mix_alone(mixer, found.inputs_PJK, found.rows_PJS)]
    if core_logits_BTV is not None:
        hidden = None if hidden_BTD is None else hidden_BTD.flatten(0, 1)
        core = core_logits_BTV.flatten(0, 1)
        logits.append(mix_core(mixer, found.inputs_PJK, found.rows_PJS, found.nodes_PJ, core, hidden))
    kept = tuple(z.detach().numpy() for z in logits)
    bits = [_bits(z, _refine(tables, found, which, z), found) for which, z in enumerate(logits)]
    device = torch.device("cpu") if core_logits_BTV is None else core_logits_BTV.device
    return Scored(bits[-1].to(device), bits[0].to(device), kept, found.hits)


def expand(
    mixer: RecallMixer,
    tables: RecallTables,
    contexts: RecallContexts,
    core_logits_BV: Tensor | None = None,
    hidden_BD: Tensor | None = None,
) -> Tensor:
    """The next byte's probabilities (B, 256), float64 on the CPU, that `score` would charge: mixed, or recall alone."""
    B = len(contexts.lane_B)
    nodes = np.tile(np.arange(1, 256), (B, 1))
    depths = np.array([node.bit_length() - 1 for node in range(1, 256)])
    here, zero = np.ones(B, np.bool_), np.zeros((B, 1), np.uint8)
    with torch.no_grad():
        found = _find(tables, contexts, zero, np.ones(B, np.int64), here, here, nodes, nodes & 1, depths)
        if core_logits_BV is None:
            z = mix_alone(mixer, found.inputs_PJK, found.rows_PJS)
        else:
            z = mix_core(mixer, found.inputs_PJK, found.rows_PJS, found.nodes_PJ, core_logits_BV, hidden_BD)
        ones = _refine(tables, found, int(core_logits_BV is not None), z).double().sigmoid()
    chance = torch.ones(B, 1, dtype=torch.float64)
    for depth in range(8):
        one = ones[:, (1 << depth) - 1 : (2 << depth) - 1]
        chance = torch.stack((chance * (1.0 - one), chance * one), 2).flatten(1)
    return chance


def advance(contexts: RecallContexts, bytes_BT: Tensor, lengths_B: Tensor | None = None) -> RecallContexts:
    """The contexts after each lane has read its row's valid prefix; the old ones are unchanged."""
    data, lengths = _arrays(bytes_BT, lengths_B)
    new = RecallContexts(contexts.lane_B, *(part.clone() for part in contexts[1:]))
    kernels().advance(new.window_BW.numpy(), new.words_B3.numpy(), new.spans_B4.numpy(), data, lengths, KINDS)
    return new


def conclude(tables: RecallTables, found: Found, scored: Scored) -> None:
    """Teach the final maps by what was scored: positions in order of (row, time), so equal runs give equal tables."""
    for cells, logits in zip(tables.final, scored.logits, strict=False):
        given = (logits, found.places_PJA, found.written_P, found.bits_PJ)
        kernels().write_final(*given, cells, BUCKETS, tables.config.final_limit)


def count(tables: RecallTables, found: Found, bytes_BT: Tensor) -> None:
    """Count what was looked up: positions in order of (row, time), so equal runs give equal tables."""
    kernel, names = kernels(), tables.config.contexts
    data, _ = _arrays(bytes_BT, None)
    taken, bits, nodes, matched = found.written_P, found.bits_PJ, found.nodes_PJ, found.matched_PM2
    limit = tables.config.count_limit
    parents = np.array([names.index(PARENTS[n]) if PARENTS.get(n) in names else -1 for n in names])
    kernel.write_states(tables.states, found.states_PJN, taken, bits, STATE_LIMIT)
    kernel.write_trust(tables.trust, matched, taken, nodes, bits, LENGTH_CLASS, STATE_LIMIT)
    kernel.write_slots(
        tables.slots, found.hashes_PN, taken, nodes, found.depths_J, bits, found.states_PJN, parents, limit, KEEP
    )
    kernel.write_history(tables.history, tables.heads, tables.pointers, found.keys_PM, found.lanes_B, data, taken)


def _arrays(bytes_BT: Tensor, lengths_B: Tensor | None) -> tuple[Any, Any]:
    """Bytes (B, T) uint8 and lengths (B,) int64 as numpy arrays."""
    data = np.ascontiguousarray(bytes_BT.detach().cpu().numpy().astype(np.uint8))
    lengths = np.full(len(data), data.shape[1]) if lengths_B is None else lengths_B.cpu().numpy()
    return data, lengths.astype(np.int64)


def _find(
    tables: RecallTables,
    contexts: RecallContexts,
    data: Any,
    lengths: Any,
    valid: Any,
    written: Any,
    nodes: Any,
    bits: Any,
    depths: Any,
) -> Found:
    """Contexts, then slots, then inputs of the positions of `data` at the given nodes."""
    config, kernel = tables.config, kernels()
    (P, J), N, M = nodes.shape, len(config.contexts), len(config.match_lengths)
    chosen = np.array([CATALOGUE.index(name) for name in config.contexts])
    hashes, near = np.zeros((P, N), np.int64), np.zeros((P, 2), np.int64)
    matched, keys = np.zeros((P, M, 2), np.int64), np.zeros((P, M), np.int64)
    lanes = [part.numpy() for part in (contexts.window_BW, contexts.words_B3, contexts.spans_B4)]
    past = (tables.history, tables.heads, tables.pointers)
    kernel.find(
        *lanes, data, lengths, KINDS, chosen, np.array(config.match_lengths), *past, hashes, near, matched, keys
    )
    words, states = np.zeros((P, J, N), np.int32), np.full((P, J, N), -1, np.int32)
    kernel.look(tables.slots, hashes, valid, nodes, depths, QUANT, states, words)
    learned, trust = worth(tables.states), worth(tables.trust, 0.5, 1.0)
    marks = np.array([ORDER_MARK * name.startswith("order") + WORD_MARKS.get(name, 0) for name in config.contexts])
    inputs, rows = np.zeros((P, J, 2 * N + 2 * M + 1), np.float32), np.zeros((P, J, 7), np.int64)
    hits = np.zeros(N, np.int64)
    given = (words, states, valid, nodes, depths, marks, KINDS, LOGS, learned, matched, trust, LENGTH_CLASS, near)
    kernel.gather(*given, inputs, rows, hits)
    rates = dict(zip(config.contexts, (hits / max(1, int(valid.sum()))).tolist(), strict=True))
    places = _places(near, nodes, tables.final.shape[2] // BUCKETS)
    who = contexts.lane_B.numpy()
    looked = (hashes, near, matched, keys, states, inputs, rows, places, rates)
    return Found((len(data), data.shape[1]), valid, written, nodes, bits, depths, who, *looked)


def _places(near: Any, nodes: Any, rows: int) -> Any:
    """Rows (P, J, 2) of the final maps: by last byte and node, by the last two bytes (hashed) and node."""
    one = near[:, :1] * 256 + nodes
    two = ((near[:, :1] * 65536 + near[:, 1:] * 256 + nodes) * 40503) >> 3
    return np.stack([one % rows, two % rows], 2)


def _refine(tables: RecallTables, found: Found, which: int, z: Tensor) -> Tensor:
    """The logits (P, J) after the final maps of mixer `which` (0 alone, 1 mixed); without gradient."""
    out = torch.empty_like(z, requires_grad=False)
    kernels().refine(z.detach().numpy(), found.places_PJA, tables.final[which], BUCKETS, out.numpy())
    return out


def _bits(z: Tensor, refined: Tensor, found: Found) -> Tensor:
    """Cost of the target's bits (B, T): the value after the final maps, the gradient before them."""
    straight = z + (refined - z).detach()
    against = torch.from_numpy(1.0 - 2.0 * found.bits_PJ).to(z.dtype)
    cost = torch.nn.functional.softplus(straight * against).sum(1) * BITS
    return torch.where(torch.from_numpy(found.valid_P), cost, 0.0).view(found.shape)
