"""Ad-hoc level stacking: a trained model's feed-forward memory, parted anew into levels, computes what it did before.

    side by side (headwise)   one map's hidden units are dealt out to the new levels       the sum is the same
    one after the other       levels are put in whose way down is nothing                  the identity (hope.md 2.7)

With rates of 0 the result is the trained model; larger rates of fast levels buy adaptability (HOPE 7.3). Clocks and
optimizer state begin anew: they belong to weights that are cut differently now.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from h2q.continuum import Continuum, Level
from h2q.model import H2Q
from h2q.settings import replace, require
from h2q.structure import HamiltonLinear, abreast, summed


def stacked(model: H2Q, periods: Sequence[int], shares: Sequence[float], expansion: float | None = None) -> H2Q:
    """A model of the same function whose memory has levels of these periods (fastest first) and shares.

    Side by side, the units of all levels together stay as many as they were, and the first go to the fastest level. In
    a chain the old periods stay, with as many units each, and the new ones start at nothing: `expansion`, hidden units
    of all levels in widths, grows with them. Raises ConfigError for levels that the trained units do not fit.
    """
    wanted = {"continuum.periods": list(periods), "continuum.shares": list(shares)}
    config = replace(model.config, wanted | ({"continuum.expansion": expansion} if expansion else {}))
    chained = config.continuum.variant != "headwise"
    before = dict(zip(model.config.continuum.periods, model.config.level_widths(), strict=True))
    after = dict(zip(config.continuum.periods, config.level_widths(), strict=True))
    if chained:
        lost = [f"p{period}" for period, units in before.items() if after.get(period) != units]
        require(not lost, f"the new levels lose {', '.join(lost)}: in a chain, old levels stay as wide as they are.")
    else:
        few, many = sum(before.values()), sum(after.values())
        require(
            few == many,
            f"the new levels have {many} hidden units and the trained ones {few}: set shares that come out even in "
            f"units of {config.structure.block}.",
        )
    twin = H2Q(config).to(model.head.device, model.head.dtype)
    rest = {name: tensor for name, tensor in model.state_dict().items() if ".memory.levels." not in name}
    twin.load_state_dict(rest, strict=False)
    with torch.no_grad():
        for old, new in zip(model.blocks, twin.blocks, strict=True):
            pair = cast(Continuum, old.memory), cast(Continuum, new.memory)
            (append if chained else deal_out)(*(ordered(one) for one in pair))
    return twin


def ordered(memory: Continuum) -> list[Level]:
    """Its levels, fastest first."""
    levels = cast(list[Level], list(memory.levels))
    return sorted(levels, key=lambda level: level.period)


def deal_out(old: list[Level], new: list[Level]) -> None:
    """Give the hidden units of the old levels, in order, to the new ones."""
    up, down = abreast([level.up for level in old]), summed([level.down for level in old])
    dense = new[0].up.form == "dense"
    sizes = [(owned(level.up).shape[0 if dense else 2]) for level in new]
    ups, downs = torch.split(up, sizes, 0 if dense else 2), torch.split(down, sizes, 1 if dense else 3)
    for level, up_part, down_part in zip(new, ups, downs, strict=True):
        owned(level.up).copy_(up_part)
        owned(level.down).copy_(down_part)


def append(old: list[Level], new: list[Level]) -> None:
    """Copy the old levels to those of the same period; the others keep their start, whose way down is zero."""
    known = {level.period: level for level in old}
    for level in new:
        if level.period in known:
            level.load_state_dict(known[level.period].state_dict())


def owned(one: HamiltonLinear) -> Tensor:
    """The parameter of a map, to be written."""
    return one.W if one.form == "dense" else one.B
