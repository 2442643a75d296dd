"""What a training run is made of: frozen, validated dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeVar

from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.config.copying import check_copying
from rxt.training.config_base import StageConfig, require
from rxt.training.data_config import DataConfig
from rxt.training.stages.adaptation import AdaptationConfig
from rxt.training.stages.fragments import FragmentsConfig
from rxt.training.stages.registry import AnyStageConfig

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class TokenizerConfig:
    """Stage 0: byte-level BPE."""

    vocab_size: int
    conversations: int = 4_000
    """Generated conversations that it is trained on, beside the files."""
    case_marks: bool = False
    """Capitals are marks before small letters, so that a word has the same pieces however it is written."""
    piece_length: int | None = None
    """The longest piece in bytes, its space among them; None: any."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class RunConfig:
    """A run: a model and what each stage does to it. Recipes are functions that return one."""

    name: str
    model: RxTConfig
    """Its vocabulary is the largest that the tokenizer may have; the run's model takes the tokenizer's own."""
    tokenizer: TokenizerConfig
    stages: tuple[AnyStageConfig, ...]
    """One after another, each kind once."""
    start: str | None = None
    """A model's folder, or its name on the Hub, whose weights and tokenizer the run starts with."""
    copies: bool = False
    """A new model begins with weights that can go on in what was told before (:mod:`rxt.model.copying_start`)."""
    baseline: BaselineKind | None = None
    """Train this instead, of the model's size and on the same data, step by step: to compare with."""
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    loader_processes: int = 0
    """Processes that make batches ahead, besides those that train: worth it where a GPU would wait for them."""
    log_every: int = 10
    validate_every: int = 200
    validation_batches: int = 4
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    """The last N; the best by validation loss is kept besides."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        kinds = [stage.kind for stage in self.stages]
        require(bool(kinds), "stages", "must be one at least")
        for kind in kinds:
            require(kinds.count(kind) == 1, "stages", f"has {kind} more than once")
        for stage in self.stages:
            stage.check(self.model, self.baseline)
        require(not self.adapts or len(kinds) == 1, "stages", "must be adaptation alone where a base is adapted")
        if self.copies:
            require(self.start is None and self.baseline is None, "copies", "is for a model that is new")
            check_copying(self.model)
        grows = self.model.base is not None and self.start is None
        require(not grows or self.adapts, "stages", "must be adaptation where the model is grown on a base")
        require(
            self.start is None or self.baseline is None,
            "start",
            "is a Reactive Transformer, so it is no start for a baseline",
        )
        require(0 <= self.seed < 2**63, "seed", f"must lie in 0 … 2⁶³ − 1, found {self.seed}")
        require(self.loader_processes >= 0, "loader_processes", f"cannot be negative, found {self.loader_processes}")
        for name in ("log_every", "validate_every", "validation_batches", "checkpoint_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, f"must be at least 1, found {getattr(self, name)}")

    @property
    def longest(self) -> int:
        """Turns of the longest conversations of all stages."""
        return max(stage.longest for stage in self.stages)

    @property
    def adapts(self) -> bool:
        """Whether it trains the memory of a model on a pre-trained base, and that alone."""
        kinds = AdaptationConfig if self.model.base is None else (AdaptationConfig, FragmentsConfig)
        return any(isinstance(stage, kinds) for stage in self.stages)

    @property
    def needs_base(self) -> bool:
        """Whether its model has a base of which the weights are not known yet."""
        return self.start is None and self.model.base is not None and not self.model.base.fingerprint

    @property
    def needs_start(self) -> bool:
        """Whether the first stage trains on a model that remembers already, and no such model is named."""
        return self.start is None and self.stages[0].needs_trained

    def stage(self, kind: type[C]) -> C:
        """The configuration of one stage."""
        return next(stage for stage in self.stages if isinstance(stage, kind))

    def having(self, *changed: StageConfig) -> Self:
        """The run with these stages in place of its own of the same kinds."""
        by_kind = {stage.kind: stage for stage in changed}
        return replace(self, stages=tuple(by_kind.get(stage.kind, stage) for stage in self.stages))

    def going_on(self, start: str, model: RxTConfig, anew: bool = False) -> Self:
        """The run as further training of a model: all of a curriculum that is meant for that, or that teaches something
        ``anew``, else what each stage has left to teach.

        A model without a pool of fragments gets that of the recipe, where it has one; if a turn's fragments are a whole
        memory there, then also here.
        """
        pool, slots = self.model.pool, model.memory_attention.slots
        if pool is not None and pool.resident_slots(self.model.memory_attention.slots) == 0:
            pool = replace(pool, fragment_slots=slots // pool.chosen)
        model = replace(model, pool=pool) if model.pool is None else model
        stages = (
            self.stages if self.needs_start or anew else tuple(filter(None, (stage.further() for stage in self.stages)))
        )
        return replace(self, start=start, model=model, stages=tuple(stage.fitting(model) for stage in stages))
