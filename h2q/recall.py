"""Recall: what the bytes read so far say about the next one, bit by bit, mixed with what the network says.

    lookup   tables, contexts, bytes  -> found      addresses, counts and inputs of the 8 bits of every byte
    score    mixer, found, core       -> scored     bits of the mixture and of recall alone, before anything is learned
    write    found, scored, bytes     -> tables     what was scored is counted, in fixed order, in integers
    advance  contexts, bytes          -> contexts   the lanes move on
    expand   mixer, tables, contexts  -> probabilities of all 256 bytes, the same arithmetic as score

A byte is eight binary decisions, high bit first; its probability is their product, so the 256 probabilities sum to one by
construction. The address of a bit depends on the bytes before it and on the higher bits of its own byte, never on
itself. Within a micro-batch the tables stand still: any chunking of it gives the same bits. All of it runs on the CPU; logits
and hidden states of another device are brought here and their gradients taken back.

The final maps are adaptive and learn by counting: the gradient is that of the logit before them (a straight-through
pass), the reported bits are those after them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from h2q.kernels.select import kernels
from h2q.recall_config import CATALOGUE
from h2q.recall_contexts import RecallContexts, zeros
from h2q.recall_mixer import Halves, Mix, RecallMixer
from h2q.recall_tables import BUCKETS, RecallTables, allocate

__all__ = [
    "Found",
    "RecallContexts",
    "RecallMixer",
    "RecallTables",
    "Scored",
    "advance",
    "allocate",
    "expand",
    "lookup",
    "score",
    "write",
    "zeros",
]

BITS = 1.0 / float(np.log(2.0))
SHRINK = 0.4


class Found(NamedTuple):
    """Everything looked up for P = B x T positions and J bits of each; numpy arrays on the CPU."""

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
    data = np.ascontiguousarray(bytes_BT.detach().cpu().numpy().astype(np.uint8))
    B, T = data.shape
    lengths = np.full(B, T, np.int64) if lengths_B is None else lengths_B.cpu().numpy().astype(np.int64)
    valid = (np.arange(T)[None] < lengths[:, None]).reshape(-1)
    written = valid if written_BT is None else valid & written_BT.cpu().numpy().reshape(-1)
    flat = data.reshape(-1, 1).astype(np.int64)
    depths = np.arange(8)
    nodes, bits = (flat | 256) >> (8 - depths), (flat >> (7 - depths)) & 1
    return _find(tables, contexts, data, lengths, valid, written, nodes, bits, depths)


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
    config, kernel = tables.config, kernels()
    B, T = data.shape
    P, J, N, M = B * T, nodes.shape[1], len(config.contexts), len(config.match_lengths)
    chosen = np.array([CATALOGUE.index(name) for name in config.contexts])
    orders = np.array([int(name.startswith("order")) for name in config.contexts])
    hashes, near = np.zeros((P, N), np.int64), np.zeros((P, 4), np.int64)
    matched, keys = np.zeros((P, M, 2), np.int64), np.zeros((P, M), np.int64)
    kernel.find(
        contexts.window_BW.numpy(),
        contexts.words_B3.numpy(),
        contexts.spans_B4.numpy(),
        data,
        lengths,
        KINDS,
        chosen,
        np.array(config.match_lengths),
        tables.history,
        tables.heads,
        tables.pointers,
        hashes,
        near,
        matched,
        keys,
    )
    words, states = np.zeros((P, J, N), np.int32), np.full((P, J, N), -1, np.int16)
    kernel.look(tables.slots, hashes, valid, nodes, depths, QUANT, states, words)
    learned = _worth(tables.states, SHRINK, SHRINK)
    trust = _worth(tables.trust, 0.5, 1.0)
    inputs, rows = np.zeros((P, J, 2 * N + 2 * M + 1), np.float32), np.zeros((P, J, 4), np.int64)
    hits = np.zeros(N, np.int64)
    kernel.gather(
        words,
        states,
        valid,
        nodes,
        depths,
        orders,
        LOGS,
        learned,
        matched,
        trust,
        near,
        inputs,
        rows,
        LENGTH_CLASS,
        hits,
    )
    places = _places(near, nodes, tables.final.shape[2] // BUCKETS)
    count = max(1, int(valid.sum()))
    rates = {name: float(hit) / count for name, hit in zip(config.contexts, hits, strict=True)}
    lanes = contexts.lane_B.numpy()
    return Found(
        (B, T),
        valid,
        written,
        nodes,
        bits,
        depths,
        lanes,
        hashes,
        near,
        matched,
        keys,
        states,
        inputs,
        rows,
        places,
        rates,
    )


def score(
    mixer: RecallMixer,
    tables: RecallTables,
    found: Found,
    core_logits_BTV: Tensor | None = None,
    hidden_BTD: Tensor | None = None,
) -> Scored:
    """Bits of every byte under the mixture with the core's logits (B, T, 256), and under recall alone."""
    alone = _mix_alone(mixer, found)
    logits = [alone]
    if core_logits_BTV is not None:
        logits.append(
            _mix_core(
                mixer, found, core_logits_BTV.flatten(0, 1), None if hidden_BTD is None else hidden_BTD.flatten(0, 1)
            )
        )
    kept = tuple(z.detach().numpy() for z in logits)
    signs = torch.from_numpy(1.0 - 2.0 * found.bits_PJ)
    bits = [_bits(z, torch.from_numpy(_refine(tables, found, i, kept[i])), signs, found) for i, z in enumerate(logits)]
    return Scored(bits[-1], bits[0], kept, found.hits)


def expand(
    mixer: RecallMixer,
    tables: RecallTables,
    contexts: RecallContexts,
    core_logits_BV: Tensor | None = None,
    hidden_BD: Tensor | None = None,
) -> Tensor:
    """The next byte's probabilities (B, 256), float64, that `score` would charge: mixed, or recall alone without a core."""
    B = len(contexts.lane_B)
    depths = np.array([node.bit_length() - 1 for node in range(1, 256)])
    nodes = np.tile(np.arange(1, 256), (B, 1))
    everywhere, zero = np.ones(B, bool), np.zeros((B, 1), np.uint8)
    with torch.no_grad():
        found = _find(tables, contexts, zero, np.ones(B, np.int64), everywhere, everywhere, nodes, nodes & 1, depths)
        mixed = core_logits_BV is not None
        z = (
            _mix_core(mixer, found, core_logits_BV, hidden_BD)
            if core_logits_BV is not None
            else _mix_alone(mixer, found)
        )
        ones = torch.from_numpy(_refine(tables, found, int(mixed), z.numpy())).double().sigmoid()
    one = torch.ones(B, 1, dtype=torch.float64)
    for depth in range(8):
        node = ones[:, (1 << depth) - 1 : (2 << depth) - 1]
        one = torch.stack((one * (1.0 - node), one * node), 2).flatten(1)
    return one


def advance(contexts: RecallContexts, bytes_BT: Tensor, lengths_B: Tensor | None = None) -> RecallContexts:
    """The contexts after each lane has read its row's valid prefix; the old ones are unchanged."""
    data = np.ascontiguousarray(bytes_BT.detach().cpu().numpy().astype(np.uint8))
    B, T = data.shape
    lengths = np.full(B, T, np.int64) if lengths_B is None else lengths_B.cpu().numpy().astype(np.int64)
    new = RecallContexts(contexts.lane_B, *(part.clone() for part in contexts[1:]))
    kernels().advance(new.window_BW.numpy(), new.words_B3.numpy(), new.spans_B4.numpy(), data, lengths, KINDS)
    return new


def write(
    tables: RecallTables, found: Found, scored: Scored, bytes_BT: Tensor, lengths_B: Tensor | None = None
) -> None:
    """Count what was scored. Positions in order of (lane, time), so equal runs give equal tables."""
    kernel, config = kernels(), tables.config
    data = np.ascontiguousarray(bytes_BT.detach().cpu().numpy().astype(np.uint8))
    B, T = data.shape
    lengths = np.full(B, T, np.int64) if lengths_B is None else lengths_B.cpu().numpy().astype(np.int64)
    for i, logits in enumerate(scored.logits):
        kernel.write_final(
            logits, found.places_PJA, found.written_P, found.bits_PJ, tables.final[i], BUCKETS, config.final_limit
        )
    kernel.write_maps(tables.states, found.states_PJN, found.written_P, found.bits_PJ, 65535)
    kernel.write_trust(
        tables.trust, found.matched_PM2, found.written_P, found.nodes_PJ, found.bits_PJ, LENGTH_CLASS, 65535
    )
    kernel.write_slots(
        tables.slots,
        found.hashes_PN,
        found.written_P,
        found.nodes_PJ,
        found.depths_J,
        found.bits_PJ,
        config.count_limit,
        2,
    )
    kernel.write_history(
        tables.history, tables.heads, tables.pointers, found.keys_PM, found.lanes_B, data, lengths, found.written_P
    )


def _mix_alone(mixer: RecallMixer, found: Found) -> Tensor:
    z: Tensor = Mix.apply(mixer.alone, None, None, found.inputs_PJK, found.rows_PJS, mixer.groups.numpy())  # type: ignore[no-untyped-call,operator]
    return z


def _mix_core(mixer: RecallMixer, found: Found, logits_PV: Tensor, hidden_PD: Tensor | None) -> Tensor:
    if mixer.mixed is None or mixer.gate is None:
        raise ValueError("this RecallMixer was made without a width, so it cannot mix a core")
    core = Halves.apply(logits_PV.to("cpu", torch.float32).contiguous(), found.nodes_PJ)  # type: ignore[no-untyped-call]
    gates = None if hidden_PD is None else hidden_PD.to("cpu", torch.float32) @ mixer.gate.T
    z: Tensor = Mix.apply(mixer.mixed, gates, core, found.inputs_PJK, found.rows_PJS, mixer.groups.numpy())  # type: ignore[no-untyped-call,operator]
    return z


def _refine(tables: RecallTables, found: Found, which: int, logits: Any) -> Any:
    out = np.zeros_like(logits)
    kernels().refine(logits, found.places_PJA, tables.final[which], BUCKETS, out)
    return out


def _bits(z: Tensor, refined: Tensor, signs: Tensor, found: Found) -> Tensor:
    """Cost of the target's bits (B, T): the value after the final maps, the gradient before them."""
    straight = z + (refined - z).detach()
    valid = torch.from_numpy(found.valid_P)
    cost = torch.nn.functional.softplus(straight * signs.to(z.dtype)).sum(1) * BITS
    return torch.where(valid, cost, 0.0).view(found.shape)


def _places(near: Any, nodes: Any, rows: int) -> Any:
    """Rows (P, J, 2) of the final maps: by last byte and node, by the last two bytes (hashed) and node."""
    one = near[:, :1] * 256 + nodes
    two = ((near[:, :1] * 65536 + near[:, 1:2] * 256 + nodes) * 40503) >> 3
    return np.stack([one % rows, two % rows], 2)


def _worth(counts: Any, zero: float, one: float) -> Any:
    return np.log((counts[..., 1] + one) / (counts[..., 0] + zero)).astype(np.float32)


def _kinds() -> Any:
    """Letter class of every byte: 0 letter, 1 beyond ASCII, 2 digit, 3 space, 4 other, 5 line end, 6 stop, 7 bracket."""
    table = np.full(256, 4, np.int64)
    for byte in range(256):
        character = chr(byte)
        if byte >= 128:
            table[byte] = 1
        elif character.isalpha():
            table[byte] = 0
        elif character.isdigit():
            table[byte] = 2
    for characters, kind in ((" ", 3), ("\n\r", 5), (".,;:!?", 6), ("()[]{}<>\"'", 7)):
        table[[ord(character) for character in characters]] = kind
    return table


KINDS = _kinds()
QUANT = np.searchsorted([1, 2, 3, 5, 8, 13, 25], np.arange(512), side="right")
LOGS = np.log(np.arange(512) + SHRINK).astype(np.float32)
LENGTH_CLASS = np.array(
    [
        0,
        *(
            max(
                1,
                min(
                    15,
                    n - 3
                    if n < 10
                    else 7 + (n - 10) // 2
                    if n < 20
                    else 12 + (n - 20) // 6
                    if n < 32
                    else 14
                    if n < 64
                    else 15,
                ),
            )
            for n in range(1, 65)
        ),
    ]
)
