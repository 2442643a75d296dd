"""Stage 4, memory-aware training: answer every turn of a conversation from the memory of the turns before it.

The gradient runs through the whole conversation unless a window says otherwise; parts are unfrozen phase by phase.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rxt.data.collate import Conversations, collate_conversations
from rxt.data.template import Template
from rxt.generation.scoring import AnswerScores
from rxt.training.config import MemoryAwareConfig, OptimConfig, Phase
from rxt.training.corpus import Corpus, Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.stages.base import Evaluator, StageLoss
from rxt.training.stages.joint import BALANCE_WEIGHT
from rxt.training.stages.memory_pretrain import conversation_batches, split_evenly
from rxt.training.unroll import conversation_scores


@dataclass(frozen=True)
class MemoryAwareStage:
    """Data: conversations, longer in every phase. Trains: what the phase says."""

    corpus: Corpus
    template: Template
    config: MemoryAwareConfig
    name: str = "4-memory-aware"
    evaluator: Evaluator[ReactiveLearner] | None = None

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def optim(self) -> OptimConfig:
        return self.config.optim

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to; the last one from there on."""
        for phase in self.config.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.config.phases[-1]

    def batches(self, split: Split, step: int) -> list[Conversations]:
        phase = self.phase(step) if split == "train" else self.config.phases[-1]
        if phase.echo:
            return echo_batches(self.corpus, self.template, split, step, phase.batch_size, self.optim.accumulate)
        turns = phase.turns
        if phase.shortest is not None and split == "train":
            turns = random.Random(f"{self.corpus.seed} {step}").randint(phase.shortest, phase.turns)
        size, rate = phase.batch_size, phase.paraphrase_rate
        return conversation_batches(self.corpus, self.template, split, step, size, turns, self.optim.accumulate, rate)

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.train_parts(self.phase(step).trains)

    def loss(
        self,
        learner: ReactiveLearner,
        batch: Conversations,
        all_batches: list[Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        slots = fresh_slots(learner, batch.size, generator)
        scores = conversation_scores(learner.model, batch, slots, self.config.window, self.config.checkpointing)
        return conversation_loss(scores, batch, all_batches, self.config.mean_over)


def conversation_loss(
    scores: AnswerScores, batch: Conversations, all_batches: list[Conversations], mean_over: Literal["turns", "answers"]
) -> StageLoss:
    """The mean over the answer tokens of a turn, summed over turns, or the mean over all of them; as a part of the
    whole update."""
    turns = max(len(part.alive) for part in all_batches)
    counts = torch.stack([part.targets_by_turn(turns) for part in all_batches]).sum(0)
    total = max(1, int(counts.sum()))
    answer = scores.loss_over_turns(counts.to(scores.nll.device)) if mean_over == "turns" else scores.nll.sum() / total
    share = batch.rows.tokens / sum(part.rows.tokens for part in all_batches)
    metrics = {"answer": scores.nll.detach().sum() / total, "accuracy": scores.correct.sum() / total}
    return StageLoss(answer + BALANCE_WEIGHT * share * scores.balance, metrics, batch.rows.tokens)


def echo_batches(
    corpus: Corpus, template: Template, split: Split, step: int, size: int, accumulate: int
) -> list[Conversations]:
    """Conversations of two turns: an interaction, and the same one again with every token a target.

    The decoder has learned in stages 1 and 2 to read a text from its encoded tokens; here it reads the same text from
    the slots that the memory attention has written. Every word of the text tells the memory attention what to keep.
    """
    said = [template.interaction(interaction) for interaction in corpus.interactions(split, step, size)]
    pairs = [[once, replace(once, loss=[False] + [True] * (len(once.ids) - 1))] for once in said]
    return [collate_conversations(part, template.tokens.pad) for part in split_evenly(pairs, accumulate)]
