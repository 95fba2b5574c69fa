"""HopeModel: real vectors in, real vectors out, state carried, levels on their clocks; the documented example runs."""

import re
from pathlib import Path

import pytest
import torch

from h2q.settings import ConfigError
from h2q.state import flatten
from h2q.vectors import HopeModel

DOCUMENT = Path(__file__).parent.parent / "docs" / "library.md"
SMALL = {"hope.heads": 2, "hope.period": 4, "hope.chunk": 4}


def model(**more: object) -> HopeModel:
    torch.manual_seed(0)
    return HopeModel(3, 16, 2, settings=SMALL, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_document_run_and_learn(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[number]
    assert len(code.strip().splitlines()) <= 14
    torch.manual_seed(0)
    exec(compile(code, "docs/library.md", "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) < 0.1  # both waves have a variance of about 0.5


def test_any_cut_gives_the_same_answer() -> None:
    made = model().double()
    for weight in made.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))
    x = torch.randn(2, 23, 3, dtype=torch.float64)
    whole, end = made(x, made.zeros(2))
    state, parts = made.zeros(2), []
    for part in torch.split(x, [1, 6, 9, 7], 1):
        y, state = made(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0.0, atol=1e-10)
    for name, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[name], tensor, rtol=0.0, atol=1e-10)


def test_a_chunk_is_scored_before_it_is_learned_and_levels_keep_their_clocks() -> None:
    made = model()
    x, target, state = torch.randn(2, 8, 3), torch.randn(2, 8, 2), made.zeros(2)
    with torch.no_grad():
        y, _ = made(x, state)
    loss, state = made.update_chunk(x, target, state)
    assert loss == pytest.approx(float(torch.nn.functional.mse_loss(y, target)))
    for _ in range(15):
        made.update_chunk(x, target, state)
    assert made.levels is not None
    assert {level.name: level.steps for level in made.levels.levels} == {"p1": 16, "p4": 4, "p16": 1}
    assert made.update_chunk(x, target, state)[0] < loss


def test_what_is_not_finite_teaches_nothing() -> None:
    made = model()
    x, target, state = torch.randn(2, 8, 3), torch.randn(2, 8, 2), made.zeros(2)
    before = [weight.clone() for weight in made.parameters()]
    _, after = made.update_chunk(x, target * float("nan"), state)
    assert after is state
    assert all(torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True))


def test_tasks_have_maps_of_their_own() -> None:
    made = model(task_count=2)
    x, state = torch.randn(1, 8, 3), made.zeros(1)
    for _ in range(5):
        made.update_chunk(x, torch.ones(1, 8, 2), state, task=0)
    assert made(x, state, task=0)[0].abs().sum() > 0
    assert made(x, state, task=1)[0].abs().sum() == 0
    for wrong in (None, 2, -1):
        with pytest.raises(ValueError, match=f"task is {wrong}"):
            made(x, state, task=wrong)


def test_profiles_fit_the_amount_of_data() -> None:
    long, short = (HopeModel.from_preset("high_retention", 1, 16, 1, length=n).config.hope for n in (10**6, 80))
    assert (long.halflife_max, short.halflife_max) == (65536.0, 80.0)
    assert (long.period, short.period) == (64, 10)
    with pytest.raises(ConfigError, match=r"it is one of balanced, fast_adapt, high_retention\."):
        HopeModel.from_preset("fast", 1, 16, 1)
