"""Stage 2, interaction fine-tuning: the same losses on single interactions, scoring only what the model must say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rxt.data.template import Encoded
from rxt.training.corpus import Split
from rxt.training.stages.joint import LanguageConfig, LanguageStage


@dataclass(frozen=True, kw_only=True)
class InteractionConfig(LanguageConfig):
    """Stage 2."""

    kind: Literal["interaction"] = "interaction"
    reads: ClassVar[str] = "single interactions"


@dataclass(frozen=True)
class InteractionStage(LanguageStage[InteractionConfig]):
    """Data: single interactions in the template."""

    name: str = "2-interaction"

    def sequences(self, split: Split, step: int) -> Sequence[Encoded]:
        return self.corpus.encoded_interactions(self.template, split, step, self.config.batch_size)
