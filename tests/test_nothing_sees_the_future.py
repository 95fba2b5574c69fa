"""Causality of every core: byte t moves no logit up to t, across chunk boundaries; and the past does reach far."""

import pytest
import torch

from h2q.model import H2Q
from tests.cores import CASES, build, fresh, text

CUT = 20


@pytest.fixture(params=list(CASES))
def model(request: pytest.FixtureRequest) -> H2Q:
    return build(request.param)


def logits(model: H2Q, data: torch.Tensor) -> torch.Tensor:
    first, _, state = model(data[:, :CUT], fresh(model, len(data)))
    second, _, _ = model(data[:, CUT:], state)
    return torch.cat((first, second), 1)


@torch.no_grad()
def test_a_byte_changes_no_logit_up_to_itself_and_some_after(model: H2Q) -> None:
    data = text(1, 40)
    base = logits(model, data)
    for t in (0, 5, CUT - 1, CUT, 33):
        other = data.clone()
        other[0, t] = 200
        changed = (logits(model, other) - base).abs().amax(-1)[0]
        assert changed[: t + 1].max() == 0, f"byte {t} leaked backwards"
        assert changed[t + 1] > 0, f"byte {t} was not read"


@torch.no_grad()
def test_permuting_future_bytes_changes_no_earlier_score(model: H2Q) -> None:
    data = text(1, 40)
    other = data.clone()
    other[0, 25:] = data[0, 25:].flip(0)
    torch.testing.assert_close(logits(model, other)[:, :26], logits(model, data)[:, :26], rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize(("case", "far"), [("h2q attention only", 15), ("transformer", 15), ("h2q delta only", 39)])
def test_the_past_reaches_as_far_as_the_mixer_promises(case: str, far: int) -> None:
    model = build(case, ngram="off", successors="off", conv=1, blocks=1)
    data = text(1, 41)
    other = data.clone()
    other[0, 40 - far - 1] = 200
    changed = (logits(model, other) - logits(model, data)).abs().amax(-1)[0]
    assert changed[40] > 0
    if case != "h2q delta only":  # one byte further back is outside a window of 16
        other = data.clone()
        other[0, 40 - far - 2] = 200
        assert (logits(model, other) - logits(model, data)).abs().amax(-1)[0, 40] == 0
