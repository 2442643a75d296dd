"""What a training run is made of: frozen, validated dataclasses. This file needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.training.config_base import OptimConfig, Part, require, require_size
from rxt.training.data_config import DataConfig
from rxt.training.preference.config import PreferenceConfig
from rxt.training.reinforcement.config import ReinforcementConfig


@dataclass(frozen=True)
class JointConfig:
    """Stages 1 and 2: decoder and encoder learn the language together."""

    steps: int
    batch_size: int
    """Sequences in an update."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    masked_share: float = 0.15
    """Of the tokens that the encoder has to guess."""
    decoder_weight: float = 1.0
    """α of α·L_AR + β·L_MLM."""
    encoder_weight: float = 1.0
    """β of the same."""
    noise: float = 0.2
    """Standard deviation of what is added to the encoder's outputs before the decoder reads them as its memory."""
    zeroed_share: float = 0.5
    """Of those outputs' positions, set to zero, on average: each text has its own share between 0 and twice this. Texts
    that keep little teach self-attention to do its own work, texts that keep most teach reading."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(
            self.zeroed_share <= 0.5,
            "joint.zeroed_share",
            f"is a mean, and must be at most 0.5, found {self.zeroed_share}",
        )
        for name in ("masked_share", "zeroed_share"):
            require(0 <= getattr(self, name) <= 1, name, f"must lie in [0, 1], found {getattr(self, name)}")
        for name in ("decoder_weight", "encoder_weight", "noise"):
            require(getattr(self, name) >= 0, name, f"cannot be negative, found {getattr(self, name)}")


@dataclass(frozen=True)
class MemoryPretrainConfig:
    """Stage 3: memory attention learns to mix old memory and encoded interaction."""

    steps: int
    batch_size: int
    turns: int = 6
    optim: OptimConfig = field(default_factory=OptimConfig)
    first_weight: float = 0.9
    """w₀, of the encoded interaction in the first target: the memory is still random there."""
    weight: float = 0.5
    weight_decay_per_turn: float = 0.05
    """w_t = weight − weight_decay_per_turn·t, never below 0.05."""
    jitter: float = 0.15
    noise: float = 0.05
    """Standard deviation, on inputs and on targets."""
    difference_penalty: float = 0.0
    """c of the optional c·√(t+1)·MSE(new, old)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 1, "memory_pretrain.turns", f"must be at least 1, found {self.turns}")
        require(0 <= self.jitter <= 1, "memory_pretrain.jitter", f"must lie in [0, 1], found {self.jitter}")
        require(self.noise >= 0, "memory_pretrain.noise", f"cannot be negative, found {self.noise}")


@dataclass(frozen=True)
class Phase:
    """A step of stage 4's curriculum."""

    steps: int
    turns: int
    """Interactions of a conversation; longer ones are split into several."""
    batch_size: int
    """Conversations in an update."""
    trains: tuple[Part, ...] = ("decoder", "memory_attention", "encoder")
    echo: bool = False
    """Instead of holding a conversation, say each single interaction again, word by word, from the memory of it."""
    shortest: int | None = None
    """When given, each batch of generated conversations has its own length, drawn between this and ``turns``."""
    paraphrase_rate: float | None = None
    """When given, of the generated conversations of this phase, in place of the data's own."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 2, "phase.turns", f"must be at least 2, found {self.turns}: one turn needs no memory")
        require(bool(self.trains), "phase.trains", "names no part of the model")
        rate = self.paraphrase_rate
        require(rate is None or 0 <= rate <= 1, "phase.paraphrase_rate", f"must lie in [0, 1], found {rate}")
        if self.shortest is not None:
            require(
                1 <= self.shortest <= self.turns,
                "phase.shortest",
                f"must lie in 1 … turns={self.turns}, found {self.shortest}",
            )


@dataclass(frozen=True)
class MemoryAwareConfig:
    """Stage 4: the whole model learns to remember, turn after turn."""

    phases: tuple[Phase, ...]
    optim: OptimConfig = field(default_factory=OptimConfig)
    window: int | None = None
    """Memory updates back that a turn's loss sends its gradient; all of them when not given."""
    checkpointing: bool = False
    """Keep one turn's activations at a time: less memory, more time, the same gradient."""
    mean_over: Literal["turns", "answers"] = "turns"
    """``turns``: the mean over the answer tokens of a turn, summed over turns. ``answers``: the mean over all answer
    tokens, so that late turns, which few conversations of uneven length reach, count no more than others."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(bool(self.phases), "memory_aware.phases", "must be one at least")
        require(self.window is None or self.window >= 1, "window", f"must be at least 1, found {self.window}")

    @property
    def steps(self) -> int:
        """Updates of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def longest(self) -> int:
        """Turns of the longest conversations."""
        return max(phase.turns for phase in self.phases)


@dataclass(frozen=True)
class TokenizerConfig:
    """Stage 0: byte-level BPE."""

    vocab_size: int
    conversations: int = 4_000
    """Generated conversations that it is trained on, beside the files."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class RunConfig:
    """A run: a model and what each stage does to it. Recipes are functions that return one."""

    name: str
    model: RxTConfig
    """Its vocabulary is the largest that the tokenizer may have; the run's model takes the tokenizer's own."""
    tokenizer: TokenizerConfig
    joint: JointConfig
    interaction: JointConfig
    memory_pretrain: MemoryPretrainConfig
    memory_aware: MemoryAwareConfig
    reinforcement: ReinforcementConfig | None = None
    """When given, stage 5 follows."""
    preference: PreferenceConfig | None = None
    """When given, stage 5′ follows."""
    start: str | None = None
    """A model's folder, or its name on the Hub, whose weights and tokenizer the run starts with."""
    further: bool = False
    """The curriculum is for a model that remembers already: it needs a ``start``, and all of its phases are kept
    there."""
    baseline: BaselineKind | None = None
    """Train this instead, of the model's size and on the same data, step by step: to compare with."""
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    log_every: int = 10
    validate_every: int = 200
    validation_batches: int = 4
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    """The last N; the best by validation loss is kept besides."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for name in ("reinforcement", "preference"):
            require(
                getattr(self, name) is None or self.baseline is None,
                name,
                "is for Reactive Transformers, not for a baseline",
            )
        require(
            self.start is None or self.baseline is None,
            "start",
            "is a Reactive Transformer, so it is no start for a baseline",
        )
        running_norm = self.model.memory_attention.norm.kind == "ema-rms"
        recomputes = self.memory_aware.window is not None or self.memory_aware.checkpointing
        problem = "cannot have window or checkpointing with ema-rms norms: they count every pass"
        require(not (running_norm and recomputes), "memory_aware", problem)
        windowed = self.preference is not None and self.preference.window is not None
        require(not (running_norm and windowed), "preference", problem)
        require(
            not (running_norm and self.reinforcement),
            "reinforcement",
            "cannot go with ema-rms norms: they count every pass",
        )
        require(0 <= self.seed < 2**63, "seed", f"must lie in 0 … 2⁶³ − 1, found {self.seed}")
        for name in ("log_every", "validate_every", "validation_batches", "checkpoint_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, f"must be at least 1, found {getattr(self, name)}")

    @property
    def longest(self) -> int:
        """Turns of the longest conversations of all stages."""
        further = (
            0 if self.reinforcement is None else self.reinforcement.longest,
            0 if self.preference is None else self.preference.turns,
        )
        return max(self.memory_aware.longest, *further)
