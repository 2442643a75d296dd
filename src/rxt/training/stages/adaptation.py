"""Adaptation: a pre-trained base gets a memory, and stays as it is.

What the base makes of a text does not depend on what is remembered, so every text goes once through the layers below
the first that reads memory, and no gradient goes there. Only the memory's reads and writes learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.data.collate import Conversations, Rows, collate_rows
from rxt.training.config_base import StageSummary, require
from rxt.training.corpus import Split
from rxt.training.keeping import KeepConfig, OwnWords, change, some_memories
from rxt.training.learner import GrownLearner, fresh_slots
from rxt.training.phases import Phased
from rxt.training.reading import keeping_reader, scores_on_base
from rxt.training.stages.base import StageContext, StageLoss
from rxt.training.stages.conversations import MeanOver, PhasedStage, conversation_loss, mean_in_words, split_evenly
from rxt.training.stages.memory_aware import Phase, phase_batches

CACHE, OWN = "texts", "own.json"
"""In the stage's folder: what the base makes of texts, and what it says by itself."""


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig(Phased[Phase]):
    """The memory of a model on a pre-trained base learns to remember, turn after turn. ``trains`` of a phase chooses
    among the memory's parameters; the base never learns."""

    kind: Literal["adaptation"] = "adaptation"
    phases: tuple[Phase, ...]
    window: int | None = None
    """As in stage 4."""
    mean_over: MeanOver = "answers"
    """As in stage 4."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16``: the base's matrices are rounded to it and products are computed in it; states, gates, losses and
    all that learns stay in float32. Several times as fast where the hardware has such products (CPUs with AMX)."""
    keep: KeepConfig | None = None
    """How the base keeps what it can do; None: nothing is done for that."""
    cache_gigabytes: float = 0.0
    """Disk for what the base makes of texts that come again, kept in the run's folder; 0: none is kept."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.window is None or self.window >= 1, "window", f"must be at least 1, found {self.window}")
        require(self.cache_gigabytes >= 0, "cache_gigabytes", f"cannot be negative, found {self.cache_gigabytes}")

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        require(baseline is None, "baseline", "has no base to be adapted; leave it out")
        on_base = model.base is not None and not model.base.included and model.encoder.shared
        require(on_base, "adaptation", "needs a model on a pre-trained base: name it, --base PATH")
        for index, phase in enumerate(self.phases):
            its_own = 'is the base\'s own and never learns; give trains: ["decoder", "memory_attention"]'
            require("encoder" not in phase.trains, f"adaptation.phases.{index}.trains: encoder", its_own)
        super().check(model, baseline)

    def summary(self) -> StageSummary:
        mean = mean_in_words(self.mean_over)
        phases = tuple(phase.summary()._replace(trains="memory") for phase in self.phases)
        kept = "" if self.keep is None else "; divergence from the base's own answers"
        return StageSummary(f"answer cross-entropy, mean over {mean}{kept}", phases)


@dataclass(frozen=True)
class Talks:
    """Conversations to remember in, and interactions of the base's own to go on answering as it does."""

    conversations: Conversations
    own: Rows | None = None

    def to(self, device: torch.device) -> Talks:
        """The same on a device."""
        return Talks(self.conversations.to(device), None if self.own is None else self.own.to(device))

    @property
    def targets(self) -> int:
        """Of the base's own interactions."""
        return 0 if self.own is None else int(self.own.targets[:, 1:].sum())


@dataclass(frozen=True)
class AdaptationStage(PhasedStage[AdaptationConfig]):
    """Data: conversations, longer in every phase. Trains: the memory's parameters that the phase names."""

    folder: Path = Path()
    """For what is kept of texts."""
    own: OwnWords | None = None
    name: str = "adaptation"

    @classmethod
    def build(cls, config: AdaptationConfig, context: StageContext) -> Self:
        """What is kept lies in the stage's folder."""
        folder = context.folder / cls.name
        own = None if config.keep is None else OwnWords(folder / OWN, config.keep, context.seed)
        return cls(context.corpus, context.template, config, folder=folder, own=own)

    def learner_for(self, learner: GrownLearner) -> GrownLearner:
        """The run's learner; its base has made up its own interactions, is rounded, and has room for what it makes of
        texts, where that is asked for."""
        config, model = self.config, learner.model
        if self.own is not None:
            self.own.make(model.eval(), self.template)
        learner.reader = keeping_reader(model, self.folder / CACHE, config.cache_gigabytes, config.precision)
        if config.precision == "bfloat16":
            learner.round_base()
        return learner

    def batches(self, split: Split, step: int) -> list[Talks]:
        phase = self.config.read_at(split, step)
        parts = phase_batches(phase, self.corpus, self.template, split, step, self.optim.accumulate)
        if self.own is None:
            return [Talks(part) for part in parts]
        own = split_evenly(self.own.of_step(split, step), len(parts))
        rows = [collate_rows(part, self.template.tokens.pad) for part in own]
        return [Talks(*part) for part in zip_longest(parts, rows)]

    def loss(
        self, learner: GrownLearner, batch: Talks, all_batches: list[Talks], generator: torch.Generator
    ) -> StageLoss:
        config, said = self.config, [each.conversations for each in all_batches]
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            slots = fresh_slots(learner, batch.conversations.size, generator)
            scores, memories = scores_on_base(learner.reader, batch.conversations, slots, config.window)
            found = conversation_loss(scores, batch.conversations, said, config.mean_over)
            if config.keep is None:
                return found
            changed = scores.nll.new_zeros(())
            if batch.own is not None:
                memory = some_memories(memories, len(batch.own), generator)
                total = max(1, sum(each.targets for each in all_batches))
                changed = change(learner.reader, batch.own, memory).sum() / total
            metrics = {**found.metrics, "change": changed.detach()}
            return StageLoss(found.loss + config.keep.weight * changed, metrics, found.tokens)
