"""Before memory is learned: answer every turn out of all tokens that were encoded before it.

Decoder and encoder learn what a question looks up, and how, while nothing is forgotten yet; the memory attention, which
learns later to keep what is looked up, has no part in it but its input norms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.data.collate import Conversations
from rxt.training.config_base import COUNTS_EVERY_PASS, StageSummary, require
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.phases import Phased
from rxt.training.stages.base import StageLoss
from rxt.training.stages.baseline import BaselineConversationStage
from rxt.training.stages.conversations import MeanOver, PhasedStage, conversation_loss, mean_in_words
from rxt.training.stages.memory_aware import Phase, phase_batches
from rxt.training.transcript import transcript_scores

READERS = ("decoder", "encoder", "memory_attention.layers.*.input_norm")
"""What a phase of this stage usually trains."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Phased[Phase]):
    """Decoder and encoder learn to look things up in a memory that forgets nothing."""

    kind: Literal["retrieval"] = "retrieval"
    phases: tuple[Phase, ...]
    mean_over: MeanOver = "answers"
    """As in ``memory_aware``."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        alone = model.encoder.cross_attention is None
        require(alone, "retrieval", "is for encoders that read no memory, so leave the stage out")
        counts = model.memory_attention.norm.kind == "ema-rms"
        require(not counts, "retrieval", f"cannot train {COUNTS_EVERY_PASS}")
        super().check(model, baseline)

    def summary(self) -> StageSummary:
        mean = mean_in_words(self.mean_over)
        phases = tuple(phase.summary() for phase in self.phases)
        return StageSummary(f"answer cross-entropy out of all tokens before, mean over {mean}", phases)

    def further(self) -> None:
        """None: it is for models that have not learned to remember yet."""


@dataclass(frozen=True)
class RetrievalStage(PhasedStage[RetrievalConfig]):
    """Data: conversations. Trains: what the phase says."""

    name: str = "3-retrieval"

    def baseline(self) -> BaselineConversationStage:
        return BaselineConversationStage(self, self.config.mean_over)

    def batches(self, split: Split, step: int) -> list[Conversations]:
        phase = self.config.read_at(split, step)
        return phase_batches(phase, self.corpus, self.template, split, step, self.optim.accumulate)

    def loss(
        self,
        learner: ReactiveLearner,
        batch: Conversations,
        all_batches: list[Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        slots = fresh_slots(learner, batch.size, generator)
        scores = transcript_scores(learner.model, batch, slots)
        return conversation_loss(scores, batch, all_batches, self.config.mean_over)
