"""One law of state: whole, chunked, ragged and byte-by-byte evaluation agree on logits and state, for every core."""

import pytest
import torch

from h2q.model import H2Q, materialise, observe
from h2q.state import State, flatten, gather
from tests.cores import CASES, build, fresh, text

CLOSE = {"rtol": 0.0, "atol": 1e-9}
LENGTH = 45


def same_state(a: State, b: State) -> None:
    for name, tensor in flatten(a).items():
        torch.testing.assert_close(tensor, flatten(b)[name], **CLOSE)


@pytest.fixture(params=list(CASES))
def model(request: pytest.FixtureRequest) -> H2Q:
    return build(request.param)


def read(model: H2Q, data: torch.Tensor, cuts: list[int]) -> tuple[torch.Tensor, State]:
    state, logits = fresh(model, len(data)), []
    for start, stop in zip([0, *cuts], [*cuts, data.shape[1]], strict=True):
        part, _, state = model(data[:, start:stop], state)
        logits.append(part)
    return torch.cat(logits, 1), state


@torch.no_grad()
def test_chunks_of_any_size_and_single_bytes(model: H2Q) -> None:
    data = text(3, LENGTH)
    whole, end = read(model, data, [])
    for cuts in ([1, 4, 21], [16, 32], list(range(1, LENGTH))):
        logits, state = read(model, data, cuts)
        torch.testing.assert_close(logits, whole, **CLOSE)
        same_state(state, end)


@torch.no_grad()
def test_ragged_rows_leave_each_lane_where_it_stopped(model: H2Q) -> None:
    data, lengths = text(3, LENGTH), torch.tensor([1, 17, LENGTH])
    whole, end = read(model, data, [])
    logits, _, state = model(data, fresh(model, 3), lengths)
    for lane, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(logits[lane, :length], whole[lane, :length], **CLOSE)
        row = torch.tensor([lane])
        _, _, alone = model(data[lane : lane + 1, :length], fresh(model, 1))
        same_state(gather(state, row), alone)
        if length < LENGTH:
            rest, _, state_end = model(data[lane : lane + 1, length:], gather(state, row))
            torch.testing.assert_close(rest[0], whole[lane, length:], **CLOSE)
            same_state(state_end, gather(end, row))


@torch.no_grad()
def test_peeking_and_observing_is_reading(model: H2Q) -> None:
    data = text(2, 20)
    whole, end = read(model, data, [])
    state = fresh(model, 2)
    for t in range(20):
        logits, _, state = model.peek(state)
        torch.testing.assert_close(logits, whole[:, t], **CLOSE)
        state = observe(state, data[:, t])
    same_state(state, end)


@torch.no_grad()
def test_materialised_maps_are_the_same_function(model: H2Q) -> None:
    data = text(2, 20)
    torch.testing.assert_close(materialise(model)(data, fresh(model, 2))[0], read(model, data, [])[0], **CLOSE)


@torch.no_grad()
def test_lanes_do_not_see_each_other(model: H2Q) -> None:
    data = text(3, LENGTH)
    whole, end = read(model, data, [])
    order = torch.tensor([2, 0, 1])
    logits, state = read(model, data[order], [7])
    torch.testing.assert_close(logits, whole[order], **CLOSE)
    same_state(state, gather(end, order))
