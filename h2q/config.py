"""What a model is made of: sizes, structure, mixers, memories. Torch-free, so a mistake is reported before torch loads.

    ModelConfig(...) -> replace(config, {"structure.form": "dense"}) -> ModelConfig        (named sizes: h2q.presets)

Each part of the model owns one frozen dataclass here. Contradictions are refused on construction, with a sentence that
says what to set; unknown keys are refused with the nearest known name. Nothing here reads the environment or a device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from h2q.continuum_config import ContinuumConfig
from h2q.hope_config import HopeConfig
from h2q.recall_config import RecallConfig
from h2q.settings import flat, nearest, replace, require

CORES = ("h2q", "hope", "hope-attention", "titans", "transformer")
FORMS = ("bank", "factors", "einsum", "dense")
PHASES = ("rotation", "prototype", "off")
MIXERS = ("attention", "delta", "hope", "titans", "softmax")
OWN_MIXER = {
    "hope": ("hope",),
    "hope-attention": ("softmax",),
    "titans": ("titans",),
    "transformer": ("softmax",),
}
"""What every block of a core mixes with; h2q says so itself (`pattern`)."""
HEADED = {
    "attention": ("attention",),
    "delta": ("delta",),
    "hope": ("hope",),
    "titans": ("hope", "attention"),
    "softmax": ("attention",),
}
"""Which sections a mixer takes its heads from."""
RULES = ("delta", "hebbian", "oja")


@dataclass(frozen=True)
class StructureConfig:
    """How every linear map of the core is built (h2q.structure)."""

    form: str = "bank"
    """bank: W formed once a step from the shared bank; factors: two batched contractions a map, the honest slow twin;
    einsum: the prototype's single three-index contraction; dense: ordinary weights, the control."""
    rank: int = 8
    """Kronecker rank R. The matrix itself has full rank."""
    block: int = 8
    """Size a = 4m of the quaternion patterns; widths are multiples of it."""
    axiom_lambda: float = 0.0
    """Weight of the orthogonality axiom in the objective; 0 switches it off."""

    def __post_init__(self) -> None:
        require(self.form in FORMS, f"structure.form is {self.form!r}; it is one of {', '.join(FORMS)}.")
        require(self.block > 0 and self.block % 4 == 0, f"structure.block is {self.block}; set a multiple of 4.")
        limit = self.block**2 // 4
        require(
            1 <= self.rank <= limit,
            f"structure.rank is {self.rank}, but blocks of {self.block} span only {limit} patterns: "
            f"set 1 to {limit}, or a larger structure.block.",
        )
        require(self.axiom_lambda >= 0, "structure.axiom_lambda is negative; set 0 or more.")


@dataclass(frozen=True)
class AttentionConfig:
    """Quaternion spacetime attention over the recent window (h2q.attention)."""

    heads: int = 4
    """Heads; each carries width / (4 heads) quaternions."""
    window: int = 64
    """A byte attends to itself and the window - 1 bytes before it, exactly, however the stream is cut."""
    persistent: int = 0
    """Learned tokens that are always in sight (softmax attention only)."""
    phase: str = "rotation"
    """Phase feedback: rotation (norm-preserving), prototype (as first published), off."""

    def __post_init__(self) -> None:
        require(self.heads > 0, f"attention.heads is {self.heads}; set 1 or more.")
        require(self.persistent >= 0, "attention.persistent is negative; set 0 or more.")
        require(self.window > 1, f"attention.window is {self.window}; set 2 or more.")
        require(self.phase in PHASES, f"attention.phase is {self.phase!r}; it is one of {', '.join(PHASES)}.")


@dataclass(frozen=True)
class DeltaConfig:
    """The gated delta rule: fast weights that outlive the window (h2q.gated_delta)."""

    heads: int = 4
    """Heads; each keeps a matrix of (width / heads) squared numbers a lane."""
    rule: str = "delta"
    """How fast weights are written: delta, hebbian or oja (h2q.associative)."""
    chunk: int = 32
    """Bytes solved at once by the kernel; changes speed, never the answer."""
    halflife_min: float = 32.0
    """Half-life in bytes of the most forgetful head at the start."""
    halflife_max: float = 8192.0
    """Half-life in bytes of the most patient head at the start; the others lie between, log-spaced."""

    def __post_init__(self) -> None:
        require(self.rule in RULES, f"delta.rule is {self.rule!r}; it is one of {', '.join(RULES)}.")
        require(self.heads > 0 and self.chunk > 0, "delta.heads and delta.chunk must be 1 or more.")
        require(
            0 < self.halflife_min <= self.halflife_max, "delta.halflife_min must be positive and at most halflife_max."
        )


CONTEXTS = {
    **{f"order{n}": (0, n, 0) for n in (1, 2, 3, 4, 5, 6, 8)},
    "gap": (1, 3, 0),
    "word": (0, 1, 1),
    "word+1": (0, 2, 2),
    "word+before": (0, 2, 1),
    "before": (1, 1, 1),
    "before+earlier": (1, 2, 1),
    "earlier": (2, 1, 1),
}
"""What the network may look up by (h2q.contexts): how many to skip, counted back from the last byte, how many to take,
and of what: 0 bytes; 1 words, whatever parts them; 2 words parted by a single byte, up to where two stand between.
The first word is the one being spelled, even if it has no letter yet."""


def known_contexts(owner: str, names: tuple[str, ...]) -> None:
    """Raise ConfigError for a context that does not exist or comes twice, or if there is none."""
    for name in names:
        require(name in CONTEXTS, f"{owner}.contexts has no {name!r}{nearest(name, list(CONTEXTS))}")
    require(0 < len(set(names)) == len(names), f"{owner}.contexts must name some, each once.")


@dataclass(frozen=True)
class NgramConfig:
    """Hashed n-gram input embeddings: what the last few bytes and words spell (h2q.embedding)."""

    enabled: bool = True
    contexts: tuple[str, ...] = (
        *("order2", "order3", "order4", "order5", "order6"),
        *("word", "word+before", "before", "before+earlier", "earlier"),
    )
    """Which contexts have a table."""
    rows_log2: int = 15
    """Rows a table, as a power of two."""
    dim: int = 64
    """Numbers a row; the contexts are concatenated and mapped to the width."""

    def __post_init__(self) -> None:
        known_contexts("ngram", self.contexts)
        require(4 <= self.rows_log2 <= 24, f"ngram.rows_log2 is {self.rows_log2}; set 4 to 24.")
        require(self.dim > 0, "ngram.dim must be 1 or more.")


@dataclass(frozen=True)
class SuccessorConfig:
    """The network's own associative memory of what followed what (h2q.successors)."""

    enabled: bool = True
    contexts: tuple[str, ...] = (
        *("order1", "order2", "order3", "order4", "order5", "order6", "order8"),
        *("word", "word+1", "gap"),
    )
    """Which contexts are kept."""
    rows_log2: int = 18
    """Slots a context, as a power of two; a slot takes six bytes."""
    dim: int = 64
    """Numbers a candidate is described with before they are mapped to the width."""

    def __post_init__(self) -> None:
        known_contexts("successors", self.contexts)
        require(4 <= self.rows_log2 <= 24, f"successors.rows_log2 is {self.rows_log2}; set 4 to 24.")
        require(self.dim > 0, "successors.dim must be 1 or more.")


@dataclass(frozen=True)
class ModelConfig:
    """One model: (bytes, state) -> (next-byte logits, state)."""

    core: str = "h2q"
    """Which sequence mixers: h2q (self-modifying memory and quaternion attention, or any pattern), hope (self-modifying
    Titans alone), hope-attention, titans (the predecessor) or transformer (the plain baseline)."""
    width: int = 256
    """D, numbers a byte carries between blocks; a reversible model splits them into two streams."""
    blocks: int = 2
    pattern: tuple[str, ...] = ("hope", "attention")
    """Mixers of the h2q core, repeated over the blocks."""
    conv: int = 4
    """Taps of the causal convolution before each mixer; 1 switches it off."""
    reversible: bool = False
    """Two-stream coupling whose activations are recomputed, so memory does not grow with depth."""
    structure: StructureConfig = field(default_factory=StructureConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    delta: DeltaConfig = field(default_factory=DeltaConfig)
    hope: HopeConfig = field(default_factory=HopeConfig)
    continuum: ContinuumConfig = field(default_factory=ContinuumConfig)
    ngram: NgramConfig = field(default_factory=NgramConfig)
    successors: SuccessorConfig = field(default_factory=SuccessorConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)

    def __post_init__(self) -> None:
        require(self.core in CORES, f"core is {self.core!r}; it is one of {', '.join(CORES)}.")
        require(self.blocks > 0, "blocks must be 1 or more.")
        require(self.conv >= 1, "conv must be 1 or more.")
        require(len(self.pattern) > 0, "pattern must name at least one mixer.")
        for mixer in self.pattern:
            require(mixer in MIXERS, f"pattern names {mixer!r}; mixers are {', '.join(MIXERS)}.")
        halves = 2 if self.reversible else 1
        require(self.width % halves == 0, f"width is {self.width}; a reversible model needs an even one.")
        unit = self.structure.block
        require(
            self.inner % unit == 0,
            f"width {self.width} is not a multiple of structure.block {unit * halves}: set one of the two.",
        )
        joined = len(self.ngram.contexts) * self.ngram.dim
        require(
            not self.ngram.enabled or self.structure.form == "dense" or joined % unit == 0,
            f"ngram.dim {self.ngram.dim} times {len(self.ngram.contexts)} contexts is not a multiple of "
            f"structure.block {unit}: set one of the two.",
        )
        require(
            not self.successors.enabled or self.structure.form == "dense" or self.successors.dim % unit == 0,
            f"successors.dim {self.successors.dim} is not a multiple of structure.block {unit}: set one of the two.",
        )
        for name in dict.fromkeys(name for mixer in self.mixers for name in HEADED[mixer]):
            heads = getattr(self, name).heads
            require(
                self.inner % (4 * heads) == 0,
                f"width {self.inner} does not hold {heads} {name} heads of whole quaternions: set {name}.heads.",
            )

    @property
    def inner(self) -> int:
        """Width a mixer works in: all of it, or one of the two streams of a reversible model."""
        return self.width // 2 if self.reversible else self.width

    @property
    def mixers(self) -> tuple[str, ...]:
        """The mixer of each block, in order."""
        pattern = self.pattern if self.core == "h2q" else OWN_MIXER[self.core]
        return tuple(pattern[i % len(pattern)] for i in range(self.blocks))

    def level_widths(self) -> tuple[int, ...]:
        """Hidden units of each continuum level: whole multiples of the structure's block."""
        unit, hidden = self.structure.block, self.continuum.expansion * self.inner
        total = sum(self.continuum.shares)
        return tuple(max(1, round(hidden * s / total / unit)) * unit for s in self.continuum.shares)


def model_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """The config a checkpoint stores. Raises ConfigError for keys this version does not know."""
    return replace(ModelConfig(), flat(values))
