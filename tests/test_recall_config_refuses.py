"""A recall setting that cannot be is refused with one sentence that says what to set."""

from typing import Any

import pytest

from h2q.recall_config import CATALOGUE, PARENTS, RecallConfig


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"contexts": ("order8",)}, "order8.*choose from order1"),
        ({"contexts": ("order1", "order1")}, "each once"),
        ({"contexts": ()}, "at least one"),
        ({"match_lengths": (12, 6)}, "ascending"),
        ({"match_lengths": (2,)}, "between 3 and 32"),
        ({"match_lengths": (3, 40)}, "between 3 and 32"),
        ({"match_lengths": ()}, "one to 4"),
        ({"count_limit": 512}, "7 to 511"),
        ({"final_limit": 5000}, "7 to 4000"),
        ({"table_bytes": 100}, "at least 65536"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RecallConfig(**setting)


def test_parents_are_contexts_that_come_before_their_children() -> None:
    for child, parent in PARENTS.items():
        assert CATALOGUE.index(parent) < CATALOGUE.index(child)
