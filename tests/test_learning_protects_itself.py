"""What goes wrong with learning is a fact; what lasts leads back to the last good save, and the account goes on."""

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.store import load, saves
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.optim.levels import Levels
from h2q.train.guard import SEED
from h2q.train.snapshot import read
from h2q.train.trainer import Trainer
from tests.conftest import SMALLEST, Command, Ear, steps_of, text_of
from tests.lessons import batches, prose, trainer

QUICK = ["--set=guard.rest=12", "--set=guard.skips=3", "--set=save_steps=10", "--set=contribution_steps=0"]
"""A guard that need not be waited for."""


@pytest.fixture
def text(here: Path) -> Path:
    path = here / "text.txt"
    path.write_bytes(text_of(20_000))
    return path


@pytest.fixture
def fails_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gradients that are not finite at these steps of the run, whatever process or resume makes them."""

    def choose(*steps: int) -> None:
        now: dict[Levels, Trainer] = {}
        made, finite = Trainer.__init__, Levels.finite

        def make(self: Trainer, *arguments: Any, **options: Any) -> None:
            made(self, *arguments, **options)
            now[self.levels] = self

        monkeypatch.setattr(Trainer, "__init__", make)
        monkeypatch.setattr(
            Levels, "finite", lambda levels: finite(levels) and now[levels].progress.steps not in set(steps)
        )

    return choose


def trained(name: str, *options: str, code: int = 0, act: Callable[[dict[str, Any]], object] = bool) -> Ear:
    """A run on the text, in this process."""
    ear = Ear(act)
    run, order = begun(parser().parse_args(["text.txt", *SMALLEST, *QUICK, "--run", name, *options]))
    assert operate(run, order, [ear], 0.0) == code
    return ear


def troubles(ear: Ear, *kinds: str) -> list[dict[str, Any]]:
    """The troubles told, of these kinds or all."""
    return [fact for fact in ear.told if fact["event"] == "trouble" and (not kinds or fact["kind"] in kinds)]


def facts_of(name: str) -> list[dict[str, Any]]:
    told = [fact for fact in read(Path("runs") / name / "metrics.jsonl") if fact["event"] == "trouble"]
    return [*steps_of(Path("runs") / name), *told]


def test_repeated_failure_leads_back_to_the_last_healthy_save(text: Path, fails_at: Callable[..., None]) -> None:
    fails_at(24, 25, 26)
    ear = trained("one", "--steps", "60", "--set", "keep=9")
    back = troubles(ear, "rollback")
    assert [(fact["step"], fact["numbers"]["to_step"]) for fact in back] == [(26, 20)]
    steps = {fact["step"]: fact for fact in ear.told if fact["event"] == "step"}
    assert back[0]["numbers"]["lost_bytes"] == steps[26]["bytes"] - steps[20]["bytes"]
    assert f"what the {back[0]['numbers']['lost_bytes']:,} bytes since then taught is lost" in back[0]["text"]
    assert list(steps) == list(range(1, 61)), "every step is made once"
    assert [steps[n]["bytes"] - steps[n - 1]["bytes"] for n in range(2, 61)] == [128] * 59, "every byte is read once"
    updates = [fact["levels"][0]["updates"] for fact in steps.values()]
    assert updates[:27] == [*range(1, 24), 23, 23, 23, 21], "the weights are those of step 20, which then learned once"
    healthy = {load(path).step: load(path).about["healthy"] for path in saves(Path("runs/one/checkpoints"))}
    assert healthy == {10: True, 20: True, 46: True, 50: True, 60: True}, "saves are put off until all is well"


def test_the_rate_is_halved_until_the_run_was_healthy_long_enough(text: Path, fails_at: Callable[..., None]) -> None:
    trained("plain", "--steps", "45")
    fails_at(24, 25, 26, 30)
    ear = trained("one", "--steps", "45")
    rates, scheduled = ([fact["lr"] for fact in steps_of(Path("runs") / name)] for name in ("one", "plain"))
    shares = [own / whole for own, whole in zip(rates, scheduled, strict=True)]
    assert shares == pytest.approx([1.0] * 26 + [0.5] * 16 + [1.0] * 3)
    assert [fact["step"] for fact in troubles(ear, "recovered")] == [42]


def test_a_rollback_restores_what_was_learned_and_nothing_of_the_account(tmp_path: Path) -> None:
    run, reading = trainer(**{"replay.share": 0.25, "replay.length": 32}), batches(prose(8000))
    for _ in range(12):
        run.step(next(reading))
    files, documents = run.state_dict()
    kept = {file: {name: tensor.clone() for name, tensor in part.items()} for file, part in files.items()}
    counters = dict(documents)
    run.open_chat()
    for _ in range(9):
        run.step(next(reading))
    progress, growing = run.progress, run.replay.growing.clone()
    assert progress.steps == 21
    run.go_back(kept, counters)
    again, counted = run.state_dict()
    for file, part in kept.items():
        for name, tensor in part.items():
            if file == "state":
                assert torch.equal(again[file][name][: len(tensor)], tensor), name
            elif not name.startswith("replay."):
                assert torch.equal(again[file][name], tensor), name
    assert counted["levels"] == counters["levels"]
    assert run.progress is progress
    assert torch.equal(run.replay.growing, growing), "passages are bytes and no harm"
    assert run.chat is not None, "a conversation that was opened since then stays open"


def test_without_a_save_it_begins_again_with_the_weights_of_the_seed(
    text: Path, fails_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_at(4, 5, 6)
    seen: list[dict[str, torch.Tensor]] = []
    back = Trainer.go_back

    def go_back(self: Trainer, *given: Any) -> None:
        back(self, *given)
        seen.append({name: tensor.clone() for name, tensor in self.state_dict()[0]["model"].items()})

    monkeypatch.setattr(Trainer, "go_back", go_back)
    ear = trained("one", "--steps", "9")
    (told,) = troubles(ear, "rollback")
    assert told["numbers"]["to_step"] == SEED
    assert told["numbers"]["lost_bytes"] == 6 * 128
    assert "the weights the run began with" in told["text"]
    _, order = begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "other"]))
    fresh = Trainer(order.config, 4).state_dict()[0]["model"]
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in seen[0].items())


@pytest.fixture
def overflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """An optimizer step that overflows."""

    def at(step: int) -> None:
        learn = Trainer.learn

        def broken(self: Trainer, studies: Any) -> bool:
            if self.progress.steps == step:
                self.levels.levels[0].kept[0]["m"].fill_(3e38)
                self.levels.levels[0].kept[0]["v"].zero_()
                self.levels.levels[0].entries[0] = self.levels.levels[0].entries[0]._replace(rate=1e30)
            return learn(self, studies)

        monkeypatch.setattr(Trainer, "learn", broken)

    return at


def test_weights_that_overflow_are_noticed_at_that_step_and_taken_back(
    text: Path, overflow: Callable[[int], None]
) -> None:
    overflow(14)
    ear = trained("one", "--steps", "14")
    assert [(fact["kind"], fact["step"]) for fact in troubles(ear)] == [("nonfinite", 14), ("rollback", 14)]
    assert troubles(ear, "rollback")[0]["numbers"]["to_step"] == 10
    weights = load(Path("runs/one/checkpoints/step-000000014")).tensors["model"]
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())


def test_rows_of_a_table_that_overflow_are_noticed_too() -> None:
    run = trainer()
    next_one = batches(prose(4000))
    run.step(next(next_one))
    assert run.levels.sound()
    run.levels.tables = [table._replace(rate=math.inf) for table in run.levels.tables]
    run.step(next(next_one))
    assert not run.levels.sound()


def test_finite_weights_that_are_worse_than_nothing_are_taken_back(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Trainer] = []
    init = Trainer.__init__

    def make(self: Trainer, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        made.append(self)

    def spoil(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] == 45:
            made[-1].model.head.data.normal_(0.0, 40.0, generator=torch.Generator().manual_seed(1))

    monkeypatch.setattr(Trainer, "__init__", make)
    monkeypatch.setattr(Trainer, "learn", lambda self, studies: True)  # what is spoiled does not heal by itself
    options = ["--set", "guard.warmup=20", "--set", "guard.worse=15", "--set", "keep=9"]
    ear = trained("one", "--steps", "70", *options, act=spoil)
    (told,) = troubles(ear, "rollback")
    assert told["numbers"]["to_step"] == 40, "no save of the spoiled weights passes for a good one"
    assert 48 <= told["step"] <= 56, "a few of the last fifteen steps do not suffice, however bad"
    assert "worse than saying nothing" in told["text"]


def test_saves_asked_for_in_trouble_do_not_push_out_the_last_good_one(
    text: Path, fails_at: Callable[..., None]
) -> None:
    def ask(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] in (22, 23):
            signal.raise_signal(signal.SIGUSR1)

    fails_at(22, 23, 24)
    ear = trained("one", "--steps", "26", "--set", "keep=1", act=ask)
    assert {10, 20, 23, 26} <= set(ear.steps("saved"))
    assert [fact["numbers"]["to_step"] for fact in troubles(ear, "rollback")] == [20]
    assert [load(path).step for path in saves(Path("runs/one/checkpoints"))] == [20, 26]


def test_a_run_in_trouble_gives_the_same_facts_however_often_it_is_resumed(
    text: Path, fails_at: Callable[..., None], h2q: Command
) -> None:
    fails_at(24, 25, 26, 33, 41, 42, 43)
    trained("whole", "--steps", "50")
    assert [fact["numbers"]["to_step"] for fact in facts_of("whole") if fact.get("kind") == "rollback"] == [20, 10]
    trained("parts", "--steps", "31")  # in the midst of the trouble: this save is not healthy
    assert load(Path("runs/parts/checkpoints/step-000000031")).about["healthy"] is False
    for steps in ("42", "50"):
        assert h2q("train", "--run", "parts", "--resume", "--steps", steps, "--ui", "none") == 0
    assert facts_of("parts") == facts_of("whole")
    (one, two) = (load(Path("runs") / name / "checkpoints/step-000000050") for name in ("whole", "parts"))
    assert one.documents["guard"] == two.documents["guard"]
    assert one.documents["progress"] == two.documents["progress"]


def test_killed_after_a_rollback_it_goes_on_as_it_would_have(text: Path, fails_at: Callable[..., None]) -> None:
    class Killed(BaseException):
        """As if the process had ended here."""

    def kill(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] == 29:
            raise Killed

    fails_at(24, 25, 26)
    trained("whole", "--steps", "40")
    with pytest.raises(Killed):
        trained("killed", "--steps", "40", act=kill)
    import main

    assert main.main(["train", "--run", "killed", "--resume", "--ui", "none"]) == 0
    assert facts_of("killed") == facts_of("whole")


def test_when_no_rollback_helps_the_run_ends_with_its_good_saves_untouched(
    text: Path, fails_at: Callable[..., None]
) -> None:
    fails_at(*range(35, 200))
    ear = trained("one", "--steps", "150", "--set", "keep=9", code=1)
    assert [fact["numbers"]["to_step"] for fact in troubles(ear, "rollback")] == [30, 20, 10]
    assert [fact["step"] for fact in troubles(ear, "rollback", "gave_up")] == [37, 49, 61, 73]
    assert ear.told[-1]["event"] == "end" or ear.told[-2]["event"] == "end"
    assert next(fact for fact in ear.told if fact["event"] == "end")["reason"] == "failed"
    assert [path.name[-2:] for path in saves(Path("runs/one/checkpoints"))] == ["10", "20", "30"]
    assert len(troubles(ear, "nonfinite")) < 12, "what goes on and on is told rarely"


def test_a_guard_that_is_off_leaves_all_alone(text: Path, fails_at: Callable[..., None]) -> None:
    fails_at(24, 25, 26, 27)
    ear = trained("one", "--steps", "30", "--set", "guard=off")
    assert troubles(ear) == []
    assert ear.told[-1]["event"] == "end" or ear.told[-2]["event"] == "end"
    assert [fact["skipped"] for fact in ear.told if fact["event"] == "step"][-1] == 4
    assert all(load(path).about["healthy"] for path in saves(Path("runs/one/checkpoints")))


def test_a_healthy_run_is_bit_for_bit_the_run_without_a_guard(text: Path) -> None:
    trained("guarded", "--steps", "20")
    trained("bare", "--steps", "20", "--set", "guard=off")
    assert facts_of("guarded") == facts_of("bare")


# The judgement alone.


def test_a_real_level_without_gradient_is_told(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Levels.step

    def starve(self: Levels, *given: Any) -> None:
        if 8 <= self.steps < 40:
            for entry in (one for level in self.memories if level.period == 4 for one in level.entries):
                entry.weight.grad = None
        step(self, *given)

    monkeypatch.setattr(Levels, "step", starve)
    ear = trained("one", "--steps", "60")
    assert [(fact["kind"], fact["numbers"]["name"]) for fact in troubles(ear)] == [
        ("dead_level", "p4"),
        ("alive", "p4"),
    ]
