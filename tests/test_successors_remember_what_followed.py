"""The network's associative memory: one exposure is enough, only what was scored is written, the kernels agree."""

import math

import pytest
import torch

from h2q.config import CONTEXTS
from h2q.contexts import REACH, plan_of, trace
from h2q.kernels.reference_successors import CHECK, NOTHING, SLOT
from h2q.kernels.successors import DEFINITION, compiled
from h2q.probe.bits import score_frozen
from h2q.settings import ConfigError
from h2q.successors import KEPT, RUNS, Successors
from tests.cores import build, fresh, tiny_config
from tests.lessons import batches, prose, trainer

PLAN = plan_of(list(CONTEXTS))


def memory() -> Successors:
    found = build("h2q").embedding.successors
    assert found is not None
    found.table.zero_()
    return found


def taught(text: bytes) -> tuple[Successors, dict[str, list[int]]]:
    """A memory that has read a text, and what it holds out after it."""
    one, data = memory(), torch.tensor([list(text)])
    before = torch.full((1, REACH - 1), 256)
    one.note(data[:, :-1], before, data[:, 1:], torch.ones(1, len(text) - 1, dtype=torch.bool))
    found = one.find(data, before)
    held = {name: found.bytes_BTCS[0, -1, c].tolist() for c, name in enumerate(one_names())}
    return one, held


def one_names() -> tuple[str, ...]:
    return tiny_config("h2q").successors.contexts


def test_what_followed_once_is_known_at_once_newest_first() -> None:
    _, held = taught(b"the cat, the dog, the")
    assert held["order3"] == [ord(" "), NOTHING, NOTHING]
    assert held["word"] == [ord(" "), NOTHING, NOTHING]
    _, held = taught(b"ax ay az ay a")
    assert held["order1"] == [ord("y"), ord("z"), ord("x")]  # what returns moves to the front


def test_words_are_known_by_their_letters_whatever_stands_before_them() -> None:
    _, held = taught(b"One two! Xx (two")
    assert held["order4"] == [NOTHING] * KEPT
    assert held["word"][0] == ord("!")
    assert held["word+1"] == [NOTHING] * KEPT


def test_a_context_is_known_by_its_own_bytes_and_by_nothing_else() -> None:
    def keys(text: bytes) -> dict[str, int]:
        history, data = torch.full((1, REACH - 1), 256), torch.tensor([list(text)])
        return dict(zip(CONTEXTS, trace(data, history, PLAN)[0, -1].tolist(), strict=True))

    def same(one: bytes, other: bytes) -> set[str]:
        mine, its = keys(one), keys(other)
        return {name for name in CONTEXTS if mine[name] == its[name]}

    worded = {"word", "word+before", "before", "before+earlier", "earlier"}
    assert same(b"in May 1870, old Paris", b"in may 1870 ... OLD (paris") & worded == worded
    assert same(b"in May 1870, old Paris", b"Of, old paris") & {"word+1", "before"} == {"word+1", "before"}
    assert same(b"old, Paris", b"new; paris") & {"word+1", "word+before"} == {"word+1"}  # parted by two
    assert same(b"the old man s", b"the odd man s") & worded == {"word", "word+before", "before"}
    assert same(b"the old man s", b"the old men s") & worded == {"word", "earlier"}
    assert same(b"an old man s", b"an old man st") & worded == {"before", "before+earlier", "earlier"}
    assert same(b"man ", b"man, ") & worded == worded  # a word not yet begun is a context too
    assert same(b"xyzq", b"uvzq") & {"order1", "order2", "order3"} == {"order1", "order2"}
    assert same(b"abcd", b"abcx") & {"gap", "order1"} == {"gap"}


def test_a_run_is_counted_until_something_else_follows() -> None:
    one, before = memory(), torch.full((1, REACH - 1), 256)

    def classes(text: bytes) -> list[int]:
        data = torch.tensor([list(text)])
        one.note(data[:, :-1], before, data[:, 1:], torch.ones(1, len(text) - 1, dtype=torch.bool))
        return one.find(data, before).runs_BTC[0, -1].tolist()

    assert classes(b"a")[0] == 0
    assert classes(b"abababa")[0] == 3
    assert classes(b"ab" * 50 + b"a")[0] == len(RUNS)
    assert classes(b"aca")[0] == 1


def test_compiled_kernels_equal_their_definition() -> None:
    pytest.importorskip("numba")
    fast = compiled()
    assert fast is not None
    dice = torch.Generator().manual_seed(0)
    tables = [torch.zeros(len(PLAN), 64, SLOT, dtype=torch.uint8) for _ in range(2)]
    for turn in range(4):
        # Letters of both cases, other bytes and the start: all that words are made of and broken by.
        alphabet = torch.tensor([*b"aAb1 .\xc3", 256])
        joined = alphabet[torch.randint(0, 8, (3, REACH - 1 + 40), generator=dice)]
        followed = torch.randint(0, 3, (3, 40), generator=dice).to(torch.uint8)
        taken = torch.rand(3, 40, generator=dice) > 0.2
        found = []
        for kernels, table in zip((fast, DEFINITION), tables, strict=True):
            keys = torch.empty(3, 40, len(PLAN), dtype=torch.long)
            kernels.trace(joined, PLAN, keys)
            held, runs = torch.empty(3, 40, len(PLAN), KEPT, dtype=torch.long), torch.empty_like(keys)
            kernels.consult(table, keys, held, runs)
            kernels.note(table, keys, followed, taken)
            found.append((keys, held, runs))
        for mine, its in zip(*found, strict=True):
            assert torch.equal(mine, its), turn
        assert torch.equal(*tables)
    assert (tables[0][..., CHECK] > 0).any()


def test_reading_writes_nothing_and_only_taken_bytes_are_written() -> None:
    model = build("h2q")
    successors = model.embedding.successors
    assert successors is not None
    before, data = successors.table.clone(), torch.randint(0, 256, (2, 30))
    model(data, fresh(model, 2))
    model.note(data, fresh(model, 2), torch.zeros(2, 30, dtype=torch.bool))
    assert torch.equal(successors.table, before)
    model.note(data, fresh(model, 2), torch.ones(2, 30, dtype=torch.bool))
    assert not torch.equal(successors.table, before)


def test_a_frozen_score_leaves_the_memory_alone_and_a_step_does_not() -> None:
    run = trainer(recall="off")
    successors = run.model.embedding.successors
    assert successors is not None
    first, second = list(batches(prose(256)))[:2]
    score_frozen(run, first)
    assert not successors.table.any()
    run.step(second)
    assert successors.table.any()


def test_votes_reach_the_candidates_alone_and_count_every_place() -> None:
    one = memory()
    torch.nn.init.zeros_(one.votes)
    torch.nn.init.zeros_(one.trust)
    one.trust.data[:, 0] = 1.0
    data, before = torch.tensor([list(b"abcabcab")]), torch.full((1, REACH - 1), 256)
    one.note(data[:, :-1], before, data[:, 1:], torch.ones(1, 7, dtype=torch.bool))
    hidden, none = torch.zeros(1, 8, one.votes.shape[1]).double(), torch.zeros(1, 8, 256).double()
    votes = one.vote(one.find(data, before), hidden, none)
    assert votes[0, -1].nonzero().flatten().tolist() == [ord("c")]
    known = (one.find(data, before).runs_BTC[0, -1] > 0).sum()
    assert math.isclose(float(votes[0, -1, ord("c")].detach()), float(known))


def test_wrong_settings_are_refused() -> None:
    for setting in (
        {"successors.contexts": "ordr3"},
        {"ngram.contexts": "order2,order2"},
        {"successors.rows_log2": 40},
        {"successors.dim": 6},
    ):
        with pytest.raises(ConfigError):
            tiny_config("h2q", **setting)
