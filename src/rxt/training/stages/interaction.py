"""Stage 2, interaction fine-tuning: the same losses on single interactions, scoring only what the model must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rxt.data.collate import Rows, collate_rows
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner
from rxt.training.stages.base import CorpusStage, StageLoss
from rxt.training.stages.baseline import BaselineTextStage
from rxt.training.stages.joint import LanguageConfig, joint_loss, split_rows


@dataclass(frozen=True, kw_only=True)
class InteractionConfig(LanguageConfig):
    """Stage 2."""

    kind: Literal["interaction"] = "interaction"


@dataclass(frozen=True)
class InteractionStage(CorpusStage[InteractionConfig]):
    """Data: single interactions in the template. Trains: everything but the memory attention."""

    name: str = "2-interaction"

    def curve(self) -> str:
        return "next_token"

    def baseline(self) -> BaselineTextStage:
        return BaselineTextStage(self)

    def batches(self, split: Split, step: int) -> list[Rows]:
        sequences = [
            self.template.interaction(each) for each in self.corpus.interactions(split, step, self.config.batch_size)
        ]
        return split_rows(collate_rows(sequences, self.template.tokenizer.tokens.pad), self.optim.accumulate)

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(("decoder", "encoder"), mlm_head=True)

    def loss(
        self, learner: ReactiveLearner, batch: Rows, all_batches: list[Rows], generator: torch.Generator
    ) -> StageLoss:
        return joint_loss(learner, batch, all_batches, self.config, generator)
