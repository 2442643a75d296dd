"""The stages of a baseline: the same texts and conversations, step by step, as the Reactive Transformer's stages have.

Stages 1 and 2 predict the next token; there is no memory attention, so no stage 3; stage 4 answers every turn of a
conversation from what the baseline knows of the turns before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor, nn

from rxt.baselines.model import Baseline
from rxt.data.collate import Conversations, Rows
from rxt.generation.scoring import AnswerScores, answer_scores
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.learner import BaselineLearner, ReactiveLearner
from rxt.training.losses import BALANCE_WEIGHT
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.stages.base import Batch, Stage, StageLoss
from rxt.training.stages.conversations import MeanOver, conversation_loss


@dataclass(frozen=True)
class BaselineStage(Generic[Batch]):
    """What both stages have of the Reactive Transformer's stage that they are like: its data, length and optimiser.
    Trains: everything."""

    like: Stage[ReactiveLearner, Batch]
    evaluator: None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.like.name

    @property
    def steps(self) -> int:
        return self.like.steps

    @property
    def optim(self) -> OptimConfig:
        return self.like.optim

    @property
    def made_ahead(self) -> bool:
        return self.like.made_ahead

    def batches(self, split: Split, step: int) -> list[Batch]:
        return self.like.batches(split, step)

    def beside(self, learner: BaselineLearner) -> Sequence[nn.Module]:
        """None: its loss is computed with the learner alone."""
        return ()

    def collects(self, step: int) -> bool:
        """No: the data is there already."""
        return False

    def collect(
        self,
        learner: BaselineLearner,
        step: int,
        generator: torch.Generator,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Nothing."""

    def unfreeze(self, learner: BaselineLearner, step: int) -> None:
        learner.requires_grad_(True)


@dataclass(frozen=True)
class BaselineTextStage(BaselineStage[Rows]):
    """Stage 1 or 2. Loss: the next token."""

    def loss(
        self, learner: BaselineLearner, batch: Rows, all_batches: list[Rows], generator: torch.Generator
    ) -> StageLoss:
        decoder = learner.model.decoder
        scores = answer_scores(
            decoder.hidden(batch.ids, batch.mask), decoder.head, batch, torch.zeros(len(batch), dtype=torch.long)
        )
        targets = max(1, sum(int(part.targets[:, 1:].sum()) for part in all_batches))
        share = batch.tokens / sum(part.tokens for part in all_batches)
        answer = scores.nll.sum() / targets
        metrics = {"next_token": answer, "accuracy": scores.correct.sum() / targets}
        return StageLoss(answer + BALANCE_WEIGHT * share * scores.balance, metrics, batch.tokens)


@dataclass(frozen=True)
class BaselineConversationStage(BaselineStage[Conversations]):
    """Stage 4. Loss: that of the memory-aware stage."""

    mean_over: MeanOver

    def loss(
        self,
        learner: BaselineLearner,
        batch: Conversations,
        all_batches: list[Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        return conversation_loss(baseline_scores(learner.model, batch), batch, all_batches, self.mean_over)


def baseline_scores(model: Baseline, batch: Conversations) -> AnswerScores:
    """Score every answer token of B conversations that begin."""
    decoder = model.decoder
    match model.config.baseline:
        case "no-memory":
            return answer_scores(
                decoder.hidden(batch.rows.ids, batch.rows.mask), decoder.head, batch.rows, batch.turn_of_row()
            )
        case "history":
            rows, turns = one_row_each(batch)
            return answer_scores(decoder.hidden(rows.ids, rows.mask), decoder.head, rows, turns)
        case "recurrent":
            scores: list[AnswerScores] = []
            memory = model.start(batch.size)
            for turn, where in enumerate(batch.turns()):
                rows = batch.rows[where]
                hidden, memory = model.turn(rows, memory[: len(rows)])
                scores.append(answer_scores(hidden, decoder.head, rows, torch.full((len(rows),), turn)))
            return AnswerScores.join(scores)


def one_row_each(batch: Conversations) -> tuple[Rows, Tensor]:
    """B conversations as B rows, one interaction after another, and the turn of every token (B, T)."""
    lengths = batch.rows.mask.sum(1)
    starts = [where.start for where in batch.turns()]
    members = [
        [start + index for start, alive in zip(starts, batch.alive, strict=True) if index < alive]
        for index in range(batch.size)
    ]
    size = int(max(lengths[rows].sum() for rows in members))
    shape = (batch.size, size)
    ids = batch.rows.ids.new_zeros(shape)
    mask, targets = batch.rows.mask.new_zeros(shape), batch.rows.mask.new_zeros(shape)
    turns = torch.zeros(shape, dtype=torch.long, device=ids.device)
    for index, rows in enumerate(members):
        real = batch.rows.mask[rows]  # (turns, T)
        count = int(real.sum())
        ids[index, :count] = batch.rows.ids[rows][real]
        targets[index, :count] = batch.rows.targets[rows][real]
        turns[index, :count] = torch.arange(len(rows), device=ids.device).repeat_interleave(lengths[rows])
        mask[index, :count] = True
    return Rows(ids, mask, targets), turns
