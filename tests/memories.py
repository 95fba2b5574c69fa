"""A small recall memory for the tests: its parts together, and a text to read."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from h2q import recall
from h2q.recall_config import RecallConfig
from tests.conftest import text_of

SMALL = RecallConfig(table_bytes=1 << 20)
FEW = RecallConfig(table_bytes=1 << 17, contexts=("order1", "order2", "order3", "order5", "order6", "word"))
WIDTH = 8


@dataclass
class Memory:
    """Tables, contexts and mixing weights that read in step; `core` adds a network of random logits."""

    config: RecallConfig = SMALL
    lanes: int = 3
    core: bool = False
    seed: int = 0
    tables: recall.RecallTables = field(init=False)
    contexts: recall.RecallContexts = field(init=False)
    mixer: recall.RecallMixer = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.tables = recall.allocate(self.config, self.lanes)
        self.contexts = recall.zeros(self.lanes)
        self.mixer = recall.RecallMixer(self.config, WIDTH if self.core else None)
        for opened in (self.mixer.gate, self.mixer.lift):
            if opened is not None:
                torch.nn.init.normal_(opened, std=0.1)

    def network(self, rows: int, length: int) -> tuple[Tensor | None, Tensor | None]:
        """Logits (rows, length, 256) and hidden (rows, length, WIDTH), equal in every row; None without a core."""
        if not self.core:
            return None, None
        dice = torch.Generator().manual_seed(length)
        logits, hidden = torch.randn(length, 256, generator=dice), torch.randn(length, WIDTH, generator=dice)
        return logits.expand(rows, -1, -1), hidden.expand(rows, -1, -1)

    def score(self, data: Tensor, lengths: Tensor | None = None) -> recall.Scored:
        """Look up and score; nothing is learned, nobody moves."""
        found = recall.lookup(self.tables, self.contexts, data, lengths)
        return recall.score(self.mixer, self.tables, found, *self.network(*data.shape))

    def read(self, data: Tensor, lengths: Tensor | None = None, written: Tensor | None = None) -> Tensor:
        """Score, count, move on: bits (B, T)."""
        found = recall.lookup(self.tables, self.contexts, data, lengths, written)
        scored = recall.score(self.mixer, self.tables, found, *self.network(*data.shape))
        recall.count(self.tables, found, data)
        recall.conclude(self.tables, found, scored)
        self.contexts = recall.advance(self.contexts, data, lengths)
        return scored.bits_BT.detach()


def rows(lanes: int, length: int, seed: int = 0) -> Tensor:
    """Words (lanes, length) uint8, each lane its own part of one text."""
    return torch.tensor(list(text_of(lanes * length, seed)), dtype=torch.uint8).view(lanes, length)


def taught(core: bool = False, config: RecallConfig = SMALL, lanes: int = 3) -> Memory:
    """A memory that has read 600 bytes in every lane."""
    memory = Memory(config, lanes, core)
    for part in rows(lanes, 600).chunk(6, 1):
        memory.read(part)
    return memory
