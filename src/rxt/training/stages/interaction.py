"""Stage 2, interaction fine-tuning: the same losses on single interactions, scoring only what the model must say."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Template
from rxt.training.config import JointConfig, OptimConfig
from rxt.training.corpus import Corpus, Split
from rxt.training.learner import ReactiveLearner
from rxt.training.stages.base import Evaluator, StageLoss
from rxt.training.stages.joint import joint_loss, split_rows


@dataclass(frozen=True)
class InteractionStage:
    """Data: single interactions in the template. Trains: everything but the memory attention."""

    corpus: Corpus
    template: Template
    config: JointConfig
    name: str = "2-interaction"
    evaluator: Evaluator[ReactiveLearner] | None = None

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def optim(self) -> OptimConfig:
        return self.config.optim

    def batches(self, split: Split, step: int) -> list[Rows]:
        sequences = [
            self.template.interaction(each) for each in self.corpus.interactions(split, step, self.config.batch_size)
        ]
        return split_rows(collate_rows(sequences, self.template.tokenizer.tokens.pad), self.optim.accumulate)

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.train_parts(("decoder", "encoder"), mlm_head=True)

    def loss(
        self, learner: ReactiveLearner, batch: Rows, all_batches: list[Rows], generator: torch.Generator
    ) -> StageLoss:
        return joint_loss(learner, batch, all_batches, self.config, generator)
