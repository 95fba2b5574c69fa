"""`--set optim.core=m3 --set optim.levels.slow=muon`: whose weights move by which rule, resumed bit for bit."""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from h2q.commands.arguments import spread
from h2q.optim import choose, m3, momenta, muon, steering
from h2q.settings import ConfigError
from h2q.train.config import Setting, resolve, run_from_dict, run_to_dict
from h2q.train.trainer import Trainer
from tests.conftest import Command, steps_of
from tests.lessons import batches, prose, trainer

PLACES = ((False, 1), (True, 1), (True, 4), (True, 16))
"""Whether a level of the continuum holds it, and its period."""
RULES = ("muon", "m3", "dgd", "ggd", "gm", "delta", "deep", "steered")


def told(*pairs: str) -> Trainer:
    return trainer(**dict(pair.split("=") for pair in pairs))


def test_the_linear_maps_follow_the_core_and_levels_their_own() -> None:
    one = told("optim.core=m3", "optim.levels.slow=muon", "optim.levels.fast=adamw", "optim.m3.window=8")
    entries = [entry for level in one.levels.levels for entry in level.entries]
    kinds = {
        place: {type(entry.rule) for entry in entries if (entry.memory, entry.period) == place} for place in PLACES
    }
    assert kinds == {
        (False, 1): {m3.Rule, type(None)},  # maps, and all that is none
        (True, 1): {type(None)},
        (True, 4): {m3.Rule},
        (True, 16): {muon.Rule},
    }
    assert all(entry.rule.window == 8 for entry in entries if isinstance(entry.rule, m3.Rule))
    assert all(entry.weight.dim() > 1 for entry in entries if entry.rule)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_moves_every_map(rule: str) -> None:
    one = told(f"optim.core={rule}", "optim.matrix=0.01", "optim.dgd.coef=0.01")
    before = {entry.name: entry.weight.detach().clone() for level in one.levels.levels for entry in level.entries}
    scores = [one.step(batch) for batch in islice(batches(prose()), 40)]
    moved = {
        entry.name: not torch.equal(before[entry.name], entry.weight)
        for level in one.levels.levels
        for entry in level.entries
        if entry.rule
    }
    assert len(moved) > 10
    assert all(moved.values()), [name for name, has in moved.items() if not has]
    assert not any(score.skipped for score in scores)


def test_dgd_erases_and_without_its_term_is_descent() -> None:
    def gradient(*pairs: str, core: str = "dgd") -> torch.Tensor:
        one = told(*pairs, f"optim.core={core}")
        study = one.study(one.read(next(batches(prose()))))[0]
        found = next(g for w, g in zip(one.weights, study.gradient, strict=True) if w.dim() > 2)
        assert found is not None
        return found

    assert not torch.equal(gradient(), gradient("optim.dgd.coef=0"))
    without = gradient("optim.dgd.coef=0")
    assert torch.equal(without, gradient(core="gm"))
    torch.testing.assert_close(gradient("optim.dgd.coef=0.5") - without, 0.5 * (gradient() - without))


@pytest.mark.parametrize("rule", ["m3", "steered"])
def test_a_run_is_resumed_in_the_middle_of_a_window(train: Command, text: Path, rule: str) -> None:
    how = ["--set", f"optim.core={rule}", "--set=optim.m3.window=8", "--set=optim.steered.mode=outer"]
    assert train(text, "--run", "whole", "--steps", 12, *how) == 0
    assert train(text, "--run", "parted", "--steps", 5, *how) == 0
    assert train("--resume", "--run", "parted", "--steps", 12) == 0
    assert steps_of(Path("runs/whole")) == steps_of(Path("runs/parted"))


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("optim.core=adm", "there is no optimizer 'adm'; did you mean 'adamw'?"),
        ("optim.levels.slow=best", "optim.levels.slow: there is no optimizer 'best'; there are auto, adamw, muon"),
        ("optim.levels.slow=dgd", "what layers saw is erased in all of the core"),
        ("optim.m3.windows=3", "There is no setting 'optim.m3.windows'; did you mean 'optim.m3.window'?"),
        ("optim.m3.mode=other", "mode is 'other'; it is one of ema, literal"),
        ("optim.steered.base=adamw", "would divide twice; steer gm or delta"),
        ("optim.steered.base=dgd", "optim.steered.base=dgd; steer gm or delta"),
        ("optim.m3.window=0", "optim.m3.window is 0; it is a whole number, 1 or more"),
        ("optim.m3.eps=0", "optim.m3.eps is 0.0; it is a number above 0"),
        ("optim.eps=0", "optim.eps must be positive"),
        (
            "optim.core=dgd optim.levels.slow=m3",
            "optim.core=dgd erases in all of the core: leave out optim.levels.slow",
        ),
        ("optim.core=dgd structure.form=factors", "structure.form=factors never forms it"),
        ("optim.levels.middle=m3 continuum.periods=1,4 continuum.shares=0.5,0.5", "middle needs 3 levels"),
        ("optim.decay_start=" + 30 * "9", "optim.decay_start is 1 or more, and at most"),
        ("optim.ggd.objective=lp", "needs every input of every layer"),
    ],
)
def test_what_cannot_be_is_one_sentence(pair: str, sentence: str) -> None:
    settings = [Setting(key, value, "test") for key, _, value in (one.partition("=") for one in pair.split())]
    with pytest.raises(ConfigError) as refused:
        resolve("tiny", None, settings)
    assert sentence in str(refused.value)


def test_several_settings_may_follow_one_another(h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["--set", "optim.core=m3", "optim.levels.slow=muon", "optim.m3.window=4", "--preset", "tiny"]
    assert h2q("train", *sets, text, "--steps", 1, "--run", "named", "--ui", "plain") == 0
    stored = json.loads(Path("runs/named/run.json").read_text())["config"]["train"]["optim"]
    assert (stored["core"], stored["levels"]["slow"], stored["m3"]["window"]) == ("m3", "muon", 4)
    text.rename("lanes=2")
    assert spread(["--set", "a.b=1", "lanes=2", "--set=seed=3", "seed=4", "x=5"])[2:] == [
        *("lanes=2", "--set=seed=3", "--set", "seed=4", "x=5")
    ], "a file is a file, and what is no setting is none"


def test_auto_gives_m3_to_small_matrices_and_adamw_to_large_ones() -> None:
    def by_shape(*pairs: str) -> dict[str, bool]:
        found = told("optim.core=auto", *pairs).levels.levels
        return {e.name: isinstance(e.rule, m3.Rule) for level in found for e in level.entries if e.weight.dim() > 1}

    assert by_shape()["model.blocks.0.memory.levels.0.up.B"]
    dense = by_shape("structure.form=dense", "width=128")
    assert not dense["model.blocks.0.mixer.out.W"]
    assert choose.suited("auto", (8, 64, 300)) == "m3"
    assert choose.suited("auto", (65, 65)) == "adamw"
    assert choose.suited("muon", (999, 999)) == "muon"


def test_runs_of_before_they_could_say_so_go_on_with_adamw() -> None:
    document = run_to_dict(resolve("tiny"))
    assert document["train"]["optim"].pop("core") == "auto"
    assert run_from_dict(document).train.optim.core == "adamw"


def test_steering_knows_what_it_steers() -> None:
    one = told("optim.core=steered", "optim.steered.base=delta", "optim.steered.mode=outer", "optim.delta.mu=0.5")
    rules = {entry.rule for level in one.levels.levels for entry in level.entries} - {None}
    assert rules == {steering.Rule(base=momenta.Delta(mu=0.5), mode="outer")}
