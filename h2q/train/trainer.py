"""The trainer: score a micro-batch, learn from it, carry the state on. One optimizer step each, or one of several.

    batch --> score with weights and counts that have not seen it --> one backward --> levels step on their clocks
          '-> recall follows, looks up and counts               '-> maps and successors '-> state carried on

It owns the model, the recall tables, every optimizer state and every lane's state; `state_dict` is the complete list of
what resumes. It knows nothing of files, sockets or time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from h2q import recall
from h2q.model import H2Q, Watch
from h2q.optim.levels import Levels
from h2q.recall_follow import Heard, follow, look, share
from h2q.recall_mixer import RecallMixer
from h2q.recall_tables import RecallTables, rings
from h2q.state import detach, flatten, gather, unflatten
from h2q.threads import beside, here, together
from h2q.train.accumulation import Accumulation
from h2q.train.config import RunConfig
from h2q.train.contribution import Contribution
from h2q.train.counting import scored
from h2q.train.objective import Judged, core_bits, objective
from h2q.train.rates import entries, rules
from h2q.train.reading import (
    LaneState,
    Reading,
    Study,
    begun,
    cut,
    joined,
    laid,
    narrow,
    parted,
    replaced,
    summed,
    whole,
)
from h2q.train.replay import Replay
from h2q.train.schedule import scales
from h2q.train.score import Progress, Score
from stream.lanes import Batch


class Trainer:
    """Scores and learns one micro-batch at a time."""

    def __init__(self, config: RunConfig, lanes: int, device: str = "cpu", table_buffer: Any = None) -> None:
        # config
        self.config, self.device, self.lanes = config, torch.device(device), lanes
        optim = config.train.optim
        # parts
        torch.manual_seed(config.train.seed)
        self.model = H2Q(config.model).to(self.device)
        self.model.bank.rounding = torch.bfloat16 if config.train.precision == "bfloat16" else None
        parameters = entries(self.model, optim, "model.", config.model.continuum)
        self.tables: RecallTables | None = None
        self.mixer: RecallMixer | None = None
        if config.model.recall.enabled:
            self.tables = recall.allocate(config.model.recall, rings(lanes), table_buffer)
            self.mixer = RecallMixer(config.model.recall, config.model.width).to(self.device)
            parameters += entries(self.mixer, optim, "mixer.")
        self.levels = Levels(parameters, rules(optim, config.model.continuum))
        self.accumulation = Accumulation(config.train.accumulate, parameters)
        self.weights = [entry.weight for entry in parameters]
        self.contribution = Contribution(self.model, self.levels)
        self.replay = Replay(config.train.replay, lanes, config.train.seed)
        self.state = self.blank(lanes)
        self.chat: LaneState | None = None
        # progress
        self.progress = Progress()
        # seen last
        self.streams: list[Tensor] = []
        """One lane's residual stream (T, D), before the first block and after each."""
        self.hits: dict[str, float] = {}
        self.axiom: Tensor | None = None

    def step(self, batch: Batch) -> Score:
        """Score, learn, advance. A micro-batch whose gradient is not finite changes no weight and no network state."""
        reading, every = self.read(batch), self.config.train.contribution_steps
        if every and self.progress.steps % every == every - 1:
            self.contribution.measure(reading)
        studies = self.study(reading)
        judged, new = joined(studies)
        self.progress.advance(int(reading.real_BT.sum()))
        jobs = [partial(self.learn, studies), partial(self.write, studies)]
        learned, _ = together(jobs) if self.config.train.threads > 1 else [job() for job in jobs]
        if not learned:
            self.progress.skipped += 1
            judged, new = self.fall_back(reading, judged, new)
        self.carry(reading, new)
        self.replay.hear(reading, batch.epoch)
        return self.count(batch, reading, judged, skipped=not learned)

    def read(self, batch: Batch) -> Reading:
        """The batch on the device, with the state of its lanes."""
        reading = laid(batch, self.state, self.chat, self.device)
        if batch.fresh_B is None:
            return reading
        return reading._replace(state=begun(reading.state, torch.from_numpy(batch.fresh_B), self.model.zeros(1)))

    def study(self, reading: Reading) -> list[Study]:
        """Score every part of the micro-batch and say which way is down, side by side. No weight has learned yet."""
        real = int(reading.real_BT.sum())
        weights = [weight for weight in self.weights if real]
        self.streams, self.axiom = [], None
        self.model.bank.erase = self.config.train.optim.erase / max(1, real)
        heard = (beside if self.config.train.threads > 1 else here)(partial(self.hear, reading, follow))

        def one(start: int, stop: int) -> Study:
            part, first = narrow(reading, start, stop), start == 0
            judged, new = self.judge(part, self.watch if first else None, lambda: share(heard.result(), start, stop))
            penalty = self.penalty() if first else None
            loss = objective(judged, part.real_BT, real, self.config.train.core_weight, penalty)
            gradient = torch.autograd.grad(loss, weights, allow_unused=True) if weights else ()
            bits = judged._replace(mixed=judged.mixed.detach(), core=judged.core.detach())
            return Study(part, bits, detach(new), loss.detach(), gradient)

        parts = self.config.train.parts(reading.bytes_BT.numel()) if self.device.type == "cpu" else 1
        try:
            return together([partial(one, *pair) for pair in cut(len(reading.bytes_BT), parts)])
        finally:
            heard.exception()  # whatever happens, the tables are at rest when this returns

    def hear(self, reading: Reading, how: Callable[..., Heard]) -> Heard | None:
        """What recall says of every byte, by `follow` or `look`, and the contexts behind it; None without recall."""
        given = (reading.state.contexts, reading.bytes_BT, reading.lengths, reading.real_BT)
        return how(self.tables, *given) if self.tables else None

    def judge(
        self, reading: Reading, watch: Watch | None = None, heard: Callable[[], Heard | None] | None = None
    ) -> tuple[Judged, LaneState]:
        """Bits of every byte, and the state after the chunk. Nothing changes unless `heard` counts."""
        logits, hidden, core = self.model(reading.bytes_BT, reading.state.core, reading.lengths, watch)
        own = core_bits(logits, reading.bytes_BT)
        known = heard() if heard else self.hear(reading, look)
        if known is None or self.tables is None or self.mixer is None:
            return Judged(own, own, None, None), LaneState(core, ())
        found, after = known
        scored = recall.score(self.mixer, self.tables, found, logits, hidden)
        return Judged(scored.bits_BT, own, scored.bits_recall_BT, (found, scored)), LaneState(core, after)

    def watch(self, stream: Tensor) -> None:
        """Keep what one lane's residual stream looks like here."""
        self.streams.append(stream[0].detach().clone())

    def penalty(self) -> Tensor | None:
        """The axiom's share of the objective."""
        weight = self.config.model.structure.axiom_lambda
        if not weight:
            return None
        axiom = self.model.axiom()
        self.axiom = axiom.detach()
        return weight * axiom

    def learn(self, studies: Sequence[Study]) -> bool:
        """One step of the levels that are due; False, and nothing moved or kept, if anything is not finite."""
        in_bytes = self.config.model.continuum.clock == "bytes"
        amount = studies[0].part.bytes_BT.shape[1] if in_bytes else 1
        if not studies[0].gradient:
            return True  # no byte to learn from
        self.model.bank.erase = self.config.train.optim.erase * self.config.train.replay.weight / self.replay.size
        again = self.replay.gradient(self.model, self.weights)
        gradients = [study.gradient for study in studies] + ([again] if again else [])
        for weight, *given in zip(self.weights, *gradients, strict=True):
            weight.grad = summed(given)
        if not (all(bool(torch.isfinite(study.loss)) for study in studies) and self.levels.finite()):
            self.levels.clear()
            return False
        if due := self.accumulation.take([study.part.real_BT for study in studies], amount):
            self.levels.step(self.scale(), due)
        return True

    def write(self, studies: Sequence[Study]) -> bool:
        """What only a score can teach goes into the tables, lane by lane; always done."""
        for part, judged, *_ in studies:
            if self.tables:
                found, scored = judged.trace
                recall.conclude(self.tables, found, scored)
            self.model.note(part.bytes_BT, part.state.core, part.real_BT)
        if self.tables:
            self.hits = studies[0].judged.trace[0].hits  # of all parts: they were heard together
            real = sum(int(study.part.real_BT.sum()) for study in studies)
            for name, known in self.hits.items():
                self.progress.met[name] = self.progress.met.get(name, 0) + round((1.0 - known) * real)
        return True

    def scale(self) -> dict[str, float]:
        """The share of the full rate at this step: the schedule's, times what the run was told on the way."""
        shares = scales(self.config.train, self.progress.steps, self.progress.learned)
        return {group: share * self.progress.rate * self.progress.ease for group, share in shares.items()}

    def fall_back(self, reading: Reading, judged: Judged, new: LaneState) -> tuple[Judged, LaneState]:
        """The charge of a skipped micro-batch, and the network state it started from (the last byte was still read)."""
        flat = torch.full_like(judged.core, 8.0)
        core = reading.state.core._replace(last=new.core.last)
        mixed = flat if judged.recall is None else judged.recall
        return judged._replace(mixed=mixed, core=flat), LaneState(core, new.contexts)

    def carry(self, reading: Reading, new: LaneState) -> None:
        """Put the lanes back; `new` has no graph."""
        self.state, self.chat = replaced(self.state, self.chat, reading.rows, new)

    def blank(self, lanes: int) -> LaneState:
        """Lanes that have read nothing."""
        return LaneState(self.model.zeros(lanes), recall.zeros(lanes) if self.tables else ())

    def open_chat(self) -> None:
        """Give the conversation a lane, the last one; recall has had room for it all along."""
        if self.chat is None:
            contexts = recall.zeros(1)._replace(lane_B=torch.tensor([self.lanes])) if self.tables else ()
            self.chat = LaneState(self.model.zeros(1), contexts)

    def count(self, batch: Batch, reading: Reading, judged: Judged, skipped: bool) -> Score:
        """Sums over first-read bytes that are not the chat's, added to the run's."""
        score = scored(batch, reading, judged, skipped)
        self.progress.add(score)
        return score

    def replica(self, lane: int = 0) -> dict[str, Tensor]:
        """Weights and one lane's state, by name: what a talker needs beside the tables."""
        row = torch.tensor([lane], device=self.device)
        out = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.mixer:
            out |= {f"mixer.{name}": tensor for name, tensor in self.mixer.state_dict().items()}
        return out | {f"state.{name}": tensor for name, tensor in flatten(gather(self.state, row)).items()}

    def state_dict(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """The complete list of what resumes: files of tensors, and counters."""
        parts = {part: getattr(self, part) for part in ("levels", "accumulation", "contribution", "replay")}
        files = {
            "model": dict(self.model.state_dict()),
            "optimizer": {k: v for part in parts.values() for k, v in part.tensors().items()},
            "state": flatten(whole(self.state, self.chat)),
        }
        if self.tables and self.mixer:
            files["model"] |= {f"mixer.{name}": tensor for name, tensor in self.mixer.state_dict().items()}
            files["recall"] = self.tables.tensors()
        counters = {name: part.document() for name, part in parts.items() if part is not self.levels}
        counters |= {"levels": self.levels.counters(), "progress": asdict(self.progress)}
        return files, {"lanes": self.lanes, **counters}

    def load_state_dict(self, files: Mapping[str, Mapping[str, Tensor]], documents: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises KeyError, ValueError or RuntimeError if it does not fit."""
        self.go_back(files, documents)
        self.replay.load(files["optimizer"], documents["replay"])
        self.progress = Progress(**documents["progress"])

    def go_back(self, files: Mapping[str, Mapping[str, Tensor]], documents: Mapping[str, Any]) -> None:
        """Take back all that learning made, as it was: weights, clocks, tables, lanes. Raises as `load_state_dict`.

        Where it was made by other lanes, they and what recall keeps of each begin anew. What was counted, and the
        passages kept to be replayed, stay.
        """
        talking, other = self.chat is not None, int(documents["lanes"]) != self.lanes
        weights = files["model"]
        self.model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("mixer.")})
        if self.tables and self.mixer:
            self.mixer.load_state_dict(
                {k.removeprefix("mixer."): v for k, v in weights.items() if k.startswith("mixer.")}
            )
            self.tables.load(files["recall"], other)
        self.levels.load(files["optimizer"], documents["levels"])
        self.accumulation.load(files["optimizer"], documents.get("accumulation"))
        self.contribution.load(files["optimizer"], documents["contribution"])
        saved = dict(files["state"])
        self.state, self.chat = self.blank(self.lanes), None
        if len(saved["core.last"]) > documents["lanes"]:
            self.open_chat()
        if not other:
            self.state, self.chat = parted(unflatten(whole(self.state, self.chat), saved), self.lanes)
        elif self.chat:
            place = self.chat.contexts[:1]
            self.chat = unflatten(self.chat, {name: lanes[-1:] for name, lanes in saved.items()})
            if place:
                self.chat = self.chat._replace(contexts=self.chat.contexts._replace(lane_B=place[0]))
        if talking:
            self.open_chat()
