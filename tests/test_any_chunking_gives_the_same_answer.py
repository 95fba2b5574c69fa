"""One law of state: whole, chunked, ragged and byte-by-byte evaluation agree on logits and state, for every core."""

import pytest
import torch

from h2q.model import H2Q, materialise, observe
from h2q.state import State, flatten, gather
from tests.cores import CASES, build, close, fresh, text

LENGTH = 45


def same_state(a: State, b: State) -> None:
    for name, tensor in flatten(a).items():
        close(tensor, flatten(b)[name])


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
        close(logits, whole)
        same_state(state, end)


@torch.no_grad()
def test_ragged_rows_leave_each_lane_where_it_stopped(model: H2Q) -> None:
    data, lengths = text(3, LENGTH), torch.tensor([1, 17, LENGTH])
    whole, end = read(model, data, [])
    logits, _, state = model(data, fresh(model, 3), lengths)
    for lane, length in enumerate(lengths.tolist()):
        close(logits[lane, :length], whole[lane, :length])
        row = torch.tensor([lane])
        _, _, alone = model(data[lane : lane + 1, :length], fresh(model, 1))
        same_state(gather(state, row), alone)
        if length < LENGTH:
            rest, _, state_end = model(data[lane : lane + 1, length:], gather(state, row))
            close(rest[0], whole[lane, length:])
            same_state(state_end, gather(end, row))


@torch.no_grad()
def test_peeking_and_observing_is_reading(model: H2Q) -> None:
    data = text(2, 20)
    whole, end = read(model, data, [])
    state = fresh(model, 2)
    for t in range(20):
        logits, _, state = model.peek(state)
        close(logits, whole[:, t])
        state = observe(state, data[:, t])
    same_state(state, end)


@torch.no_grad()
def test_materialised_maps_are_the_same_function(model: H2Q) -> None:
    data = text(2, 20)
    close(materialise(model)(data, fresh(model, 2))[0], read(model, data, [])[0])


@torch.no_grad()
def test_lanes_do_not_see_each_other(model: H2Q) -> None:
    data = text(3, LENGTH)
    whole, end = read(model, data, [])
    order = torch.tensor([2, 0, 1])
    logits, state = read(model, data[order], [7])
    close(logits, whole[order])
    same_state(state, gather(end, order))
