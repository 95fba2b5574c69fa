"""Replay: passages are the stream's own, equally likely to stay, within their budget, in no score, resumed exactly."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from h2q.settings import ConfigError
from h2q.train.config import ReplayConfig
from h2q.train.inside import facts
from h2q.train.replay import Replay
from h2q.train.trainer import Trainer
from tests.cores import build, close, fresh, text
from tests.lessons import batches, prose, trainer

OLD = b"abcdefgh, abcdefgh and once more: "
ON = {"replay.share": 0.25, "replay.segments": 32, "replay.length": 16}
PLAIN = {"recall": "off", "successors": "off", "ngram": "off", "lanes": 4}


def read(one: Trainer, given: bytes, steps: int | None = None) -> float:
    """Bits a byte of the steps."""
    scores = [one.step(batch) for batch in islice(batches(given), steps)]
    return sum(score.bits for score in scores) / sum(score.bytes for score in scores)


def test_passages_are_pieces_of_what_each_lane_read_and_the_budget_is_kept() -> None:
    one, given = trainer(**ON), prose(4000)
    read(one, given)
    counters = one.replay.counters
    assert counters.kept == 32
    assert all(bytes(passage.tolist()) in given for passage in one.replay.passages)
    assert 0.8 * 0.25 * 4000 < counters.bytes <= 0.25 * 4000
    assert facts(one)["replayed"] == counters.bytes
    assert one.progress.bytes == 4000


def test_every_passage_is_equally_likely_to_stay() -> None:
    stayed: Counter[int] = Counter()
    for seed in range(300):
        replay = Replay(ReplayConfig(share=0.1, segments=5, length=2), 1, seed)
        for number in range(50):
            replay.offer(torch.tensor([number, number], dtype=torch.uint8))
        stayed.update(replay.passages[:, 0].tolist())
    shares = np.array([stayed[number] for number in range(50)]) / 300
    assert shares.sum() == pytest.approx(5)
    assert abs(shares[:25].sum() - 2.5) < 0.2
    assert shares.min() > 0.03


def test_what_is_replayed_sees_no_memory_that_has_read_it() -> None:
    model = build("h2q")
    passage = text(2, 24)
    before, _, _ = model(passage, fresh(model, 2), remembered=False)
    model.note(passage, fresh(model, 2), torch.ones(2, 24, dtype=torch.bool))
    close(model(passage, fresh(model, 2), remembered=False)[0], before)
    assert not torch.equal(model(passage, fresh(model, 2))[0], before)


def test_replay_off_changes_nothing_and_on_changes_what_is_learned() -> None:
    off, plain, on = trainer(**{"replay.segments": 7}), trainer(), trainer(**ON)
    scores = [read(one, prose(2000)) for one in (off, plain, on)]
    assert scores[0] == scores[1] != scores[2]


def test_what_was_replayed_is_forgotten_less() -> None:
    costs = []
    for share in (0.0, 0.25):
        one = trainer(**PLAIN, **ON | {"replay.share": share})
        read(one, OLD * 80)
        read(one, bytes(np.random.default_rng(1).integers(128, 192, 4000, np.uint8)))
        costs.append(read(one, OLD * 8, steps=3))
    assert costs[1] < costs[0] - 0.5


def test_a_run_with_replay_resumes_exactly() -> None:
    whole, half, other = (trainer(**ON) for _ in range(3))
    steps = list(batches(prose(3000)))
    for batch in steps:
        whole.step(batch)
    for batch in steps[:20]:
        half.step(batch)
    files, documents = half.state_dict()
    copied = {name: {key: tensor.clone() for key, tensor in group.items()} for name, group in files.items()}
    other.load_state_dict(copied, documents)
    for batch in steps[20:]:
        other.step(batch)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, other.model.state_dict()[name]), name
    assert torch.equal(whole.replay.passages, other.replay.passages)
    assert whole.replay.counters == other.replay.counters


def test_a_budget_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"replay\.share"):
        ReplayConfig(share=0.5)
