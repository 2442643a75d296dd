"""What stage 5 is told. This file needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.data.template import Mode
from rxt.training.config_base import (
    COUNTS_EVERY_PASS,
    PhaseSummary,
    RecallConfig,
    StageSummary,
    parts_of_model,
    require,
    require_size,
)
from rxt.training.phases import Phased

Strategy = Literal["multi-step", "long-range", "single-step"]
Algorithm = Literal["impo", "ppo", "group"]
REWARDS = ("composite", "recall")
"""The rewards that have a name; any other is a function, written module:function."""


@dataclass(frozen=True)
class EpisodePhase:
    """A step of stage 5's curriculum."""

    steps: int
    """Updates."""
    turns: int
    """Interactions of an episode; longer conversations of files are split into several."""
    batch_size: int
    """Episodes played for an update."""
    strategy: Strategy = "multi-step"
    """``multi-step``: conversations as they are. ``long-range``: the topic changes after the first interaction, and the
    last question returns to it. ``single-step``: one interaction to remember and one question."""
    trains: tuple[str, ...] = ("decoder", "memory_attention", "encoder")
    teacher_forcing: bool = False
    """Memorize the conversation's own answers in place of those that the policy gave."""
    reset_rate: float = 1.0
    """How often an episode begins with a fresh memory; the others go on with a memory that an earlier episode left
    behind."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 2, "phase.turns", f"must be at least 2, found {self.turns}: one turn needs no memory")
        require(
            self.strategy != "single-step" or self.turns == 2,
            "phase.turns",
            f"must be 2 for single-step episodes, found {self.turns}",
        )
        require(bool(self.trains), "phase.trains", "names no part of the model")
        require(0 <= self.reset_rate <= 1, "phase.reset_rate", f"must lie in [0, 1], found {self.reset_rate}")

    def summary(self) -> PhaseSummary:
        """The phase for people."""
        data, trains = f"{self.strategy} episodes", parts_of_model(self.trains)
        return PhaseSummary(self.steps, self.batch_size, data, trains, self.turns)


@dataclass(frozen=True)
class GroupConfig:
    """The critic-free variant: answers of the same question, out of the same memory, are compared with each other
    (arXiv 2402.03300)."""

    answers: int = 8
    """Drawn for every question; the first of them is the one that is memorized."""
    scale: bool = True
    """Divide the advantages of a group by its standard deviation, as published; else the mean is taken off alone (arXiv
    2503.20783)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(
            self.answers >= 2,
            "group.answers",
            f"must be at least 2, found {self.answers}: one answer has none to compare with",
        )


@dataclass(frozen=True)
class CriticConfig:
    """The value of a question before it is answered, for ``impo`` and ``ppo``."""

    gae: bool | None = None
    """Generalized advantage estimation over the questions of an episode (arXiv 1506.02438), or reward − value,
    normalised over the update; ``ppo`` has it and ``impo`` not, when not given."""
    discount: float = 0.9
    """γ, from one question of an episode to the next."""
    trace: float = 0.95
    """λ."""
    weight: float = 0.5
    """Of the value loss beside the policy's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for name in ("discount", "trace"):
            require(0 <= getattr(self, name) <= 1, f"critic.{name}", f"must lie in [0, 1], found {getattr(self, name)}")
        require(self.weight >= 0, "critic.weight", f"cannot be negative, found {self.weight}")


@dataclass(frozen=True)
class LossWeights:
    """What the policy loss is made of."""

    clip: float = 0.2
    """ε: where a token's probability has moved by more than this share, moving it further gains nothing (arXiv
    1707.06347)."""
    entropy: float = 0.01
    """Bonus for the entropy of the answers' tokens."""
    reference: float = 0.05
    """KL to the model that the stage began with."""
    step: float = 0.01
    """KL to the policy that drew the answers: keeps consecutive policies close. Of ``impo`` alone."""
    memory: float = 1e-4
    """c of c·√(t+1)·MSE(memory after turn t, memory before it), a mean over the turns. Of ``impo`` alone."""
    supervised: float = 0.0
    """Of the conversation's own answers' −log p, a mean over their tokens, where rewards alone would unlearn their
    wording."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(0 < self.clip < 1, "weights.clip", f"must lie in (0, 1), found {self.clip}")
        for name in ("entropy", "reference", "step", "memory", "supervised"):
            require(getattr(self, name) >= 0, f"weights.{name}", f"cannot be negative, found {getattr(self, name)}")


@dataclass(frozen=True)
class ReplayConfig:
    """Old rollouts that are learned from again."""

    batches: int = 0
    """Beside the fresh ones of a collection; 0 is no replay."""
    capacity: int = 8
    """Batches kept, the newest."""
    age: int = 4
    """Collections after which a batch is forgotten."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(self.batches >= 0, "replay.batches", f"cannot be negative, found {self.batches}")
        for name in ("capacity", "age"):
            require(getattr(self, name) >= 1, f"replay.{name}", f"must be at least 1, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ReinforcementConfig(Phased[EpisodePhase]):
    """Stage 5, MRL: answers are drawn out of the memory, rewarded, and made likelier or less likely, memory updates
    included."""

    needs_trained: ClassVar[bool] = True
    kind: Literal["reinforcement"] = "reinforcement"
    phases: tuple[EpisodePhase, ...]
    algorithm: Algorithm = "group"
    """``group``: answers of one question compared with each other. ``ppo``: clipped policy loss with a critic and GAE.
    ``impo``: the same with simple advantages, a price on memory changes, and consecutive policies kept close."""
    reward: str = "composite"
    """``composite`` (likeness to the reference), ``recall`` (10 for the value asked for and no other, else 0), or
    module:function."""
    score: Literal["questions", "all"] = "questions"
    """Which interactions are answered by the policy: those that the data knows to be questions, or all that have a
    reference. The others are memorized as they stand. In conversations of files every interaction counts as a
    question."""
    batches: int = 1
    """Batches of episodes played by the same policy, one for each update that follows."""
    epochs: int = 1
    """How often each of them is learned from."""
    temperature: float = 1.0
    """That answers are drawn with."""
    longest_answer: int = 48
    """Tokens, thinking and a tool call among them."""
    mode: Mode = "fast"
    """How questions are asked. In the Beta template ``thinking`` has the policy think before each answer, ``auto`` has
    it decide; what it thinks and decides is learned, as what it answers and calls is."""
    thinking_price: float = 0.0
    """What a token of thinking takes from the reward, so that thinking has to be worth it."""
    warm_up: int = 1
    """Interactions at an episode's beginning that are only memorized."""
    weights: LossWeights = field(default_factory=LossWeights)
    group: GroupConfig = field(default_factory=GroupConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    window: int | None = None
    """Memory updates back that an answer's loss sends its gradient; all of them when not given."""
    recall: RecallConfig = field(default_factory=RecallConfig)
    """What the stage is evaluated by."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batches", "epochs", "longest_answer", "warm_up"):
            require(
                getattr(self, name) >= 1, f"reinforcement.{name}", f"must be at least 1, found {getattr(self, name)}"
            )
        shortest = min(phase.turns for phase in self.phases)
        require(
            self.warm_up < shortest,
            "reinforcement.warm_up",
            f"must leave a question in {shortest} turns, found {self.warm_up}",
        )
        price = self.thinking_price
        require(0 <= price < math.inf, "reinforcement.thinking_price", f"cannot be negative, found {price}")
        require(self.temperature > 0, "reinforcement.temperature", f"must be above 0, found {self.temperature}")
        require(
            self.window is None or self.window >= 1, "reinforcement.window", f"must be at least 1, found {self.window}"
        )
        module, colon, function = self.reward.partition(":")
        require(
            self.reward in REWARDS or bool(module and colon and function),
            "reinforcement.reward",
            f"must be {', '.join(REWARDS)} or module:function, found {self.reward!r}",
        )

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        require(baseline is None, "reinforcement", "is for Reactive Transformers, not for a baseline")
        parts = self.mode == "fast" or model.template == "beta"
        require(parts, "reinforcement.mode", f"must be fast with the {model.template} template, found {self.mode}")
        running_norm = model.memory_attention.norm.kind == "ema-rms"
        require(not running_norm, "reinforcement", f"cannot go with {COUNTS_EVERY_PASS}")
        super().check(model, baseline)

    def summary(self) -> StageSummary:
        return StageSummary(
            f"{self.algorithm}: answers that earn more ({self.reward}) become likelier",
            tuple(phase.summary() for phase in self.phases),
        )

    def further(self) -> Self:
        return self

    @property
    def answers(self) -> int:
        """Drawn for each question."""
        return self.group.answers if self.algorithm == "group" else 1

    @property
    def has_critic(self) -> bool:
        """Whether values are learned."""
        return self.algorithm != "group"

    @property
    def has_gae(self) -> bool:
        """Whether advantages look ahead in the episode."""
        return self.has_critic and (self.algorithm == "ppo" if self.critic.gae is None else self.critic.gae)

    @property
    def cycle(self) -> int:
        """Updates from one collection of rollouts to the next."""
        return self.epochs * (self.batches + self.replay.batches)
