"""Associative memories read what was written: exactly where they can, with the interference that is known of each."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from h2q.associative import AssociativeMemory, PairState, remember
from h2q.settings import ConfigError
from tests.cores import close
from tests.lessons import batches, prose, trainer

N = 6


def orthonormal(pairs: int) -> tuple[Tensor, Tensor]:
    """Keys that share nothing, and values of any length: (1, 1, pairs, N) each."""
    torch.manual_seed(2)
    keys = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))[0][:pairs]
    return keys[None, None], torch.randn(1, 1, pairs, N, dtype=torch.float64)


@pytest.mark.parametrize("rule", ["delta", "hebbian"])
def test_orthonormal_keys_read_back_exactly(rule: str) -> None:
    k, v = orthonormal(N)
    memory = AssociativeMemory(N, N, rule=rule)
    M = memory.write(k, v, memory.zeros(1, k))
    close(memory.read(k, M), v, 1e-12)


def test_delta_replaces_what_a_key_held_and_hebbian_adds_to_it() -> None:
    k, v = orthonormal(2)
    again, new = k[:, :, :1], v[:, :, 1:]
    for rule, want in (("delta", new), ("hebbian", v[:, :, :1] + new)):
        memory = AssociativeMemory(N, N, rule=rule)
        M = memory.write(again, new, memory.write(again, v[:, :, :1], memory.zeros(1, k)))
        close(memory.read(again, M), want, 1e-12)


def test_keys_that_resemble_each_other_interfere_with_hebbian_and_less_with_delta() -> None:
    torch.manual_seed(3)
    noise, v = torch.randn(2, 1, 1, 4, N, dtype=torch.float64)
    k = F.normalize(1 + 0.5 * noise, dim=-1)
    errors = []
    for rule in ("delta", "hebbian"):
        memory = AssociativeMemory(N, N, rule=rule)
        M = memory.zeros(1, k)
        for _ in range(20):
            M = memory.write(k, v, M, 1.0 if rule == "delta" else 1 / 20)
        errors.append(float((memory.read(k, M) - v).norm()))
    assert errors[0] < 0.2 * errors[1]


def test_oja_stays_bounded_however_long_it_is_written() -> None:
    torch.manual_seed(4)
    k, v = torch.randn(2, 3, 2000, N), torch.randn(2, 3, 2000, N)
    memory = AssociativeMemory(N, N, heads=3, rule="oja")
    M = memory.write(k, v, memory.zeros(2), eta=0.5)
    assert isinstance(M, Tensor)
    assert 0.1 < float(M.norm(dim=(-2, -1)).max()) < 2 * N


@pytest.mark.parametrize("rule", ["delta", "hebbian", "oja"])
def test_every_rule_equals_its_update_byte_by_byte(rule: str) -> None:
    torch.manual_seed(5)
    q, k, v = (torch.randn(2, 2, 23, N, dtype=torch.float64) for _ in range(3))
    k, v = F.normalize(k, dim=-1), F.normalize(v, dim=-1)
    log_a = -0.1 * torch.rand(2, 2, 23, dtype=torch.float64)
    eta, M = 0.9 * torch.rand(2, 2, 23, dtype=torch.float64), torch.randn(2, 2, N, N, dtype=torch.float64)
    o, after = remember(rule, q, k, v, eta, log_a, M, 8)
    for t in range(23):
        key, value, rate = k[:, :, t, :, None], v[:, :, t, :, None], eta[:, :, t, None, None]
        step = {
            "hebbian": value @ key.mT,
            "delta": (value - M @ key) @ key.mT,
            "oja": value @ (key - M.mT @ value).mT,
        }[rule]
        M = log_a[:, :, t, None, None].exp() * M + rate * step
        close(o[:, :, t], (M @ q[:, :, t, :, None])[..., 0], 1e-10)
    close(after, M, 1e-10)


def test_pairs_give_back_the_value_of_the_nearest_key_and_forget_the_oldest() -> None:
    k, v = orthonormal(N)
    memory = AssociativeMemory(N, N, form="pairs", capacity=4)
    empty = memory.zeros(1, k)
    state = memory.write(k, v, empty)
    assert isinstance(state, PairState)
    got = memory.read(k, state)
    nearest = torch.cdist(got[0, 0, 2:], v[0, 0]).argmin(1)
    assert nearest.tolist() == [2, 3, 4, 5]
    few = memory.write(k[:, :, :1], v[:, :, :1], empty)
    close(memory.read(k[:, :, :1], few), v[:, :, :1], 1e-12)


def test_a_rule_for_pairs_or_an_unknown_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no rule"):
        AssociativeMemory(N, N, form="pairs", rule="delta")
    with pytest.raises(ConfigError, match="delta, hebbian, oja"):
        AssociativeMemory(N, N, rule="hebb")
    with pytest.raises(ConfigError, match="linear or pairs"):
        AssociativeMemory(N, N, form="ring")


def test_the_model_remembers_by_the_rule_it_is_told() -> None:
    bits = []
    for rule in ("delta", "hebbian", "oja"):
        run = trainer(pattern="delta", ngram="off", successors="off", recall="off", **{"delta.rule": rule})
        for batch in batches(prose(4 * 16 * 60)):
            run.step(batch)
        bits.append(run.progress.bits)
    assert len(set(bits)) == 3
