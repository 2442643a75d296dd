"""What the stages that read conversations share: how phases follow, their batches, and the loss of their answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch

from rxt.data.collate import Conversations, collate_conversations
from rxt.data.template import Template
from rxt.generation.scoring import AnswerScores
from rxt.training.corpus import Corpus, Split
from rxt.training.learner import GrownLearner, ReactiveLearner
from rxt.training.losses import BALANCE_WEIGHT
from rxt.training.phases import Phased
from rxt.training.stages.base import CorpusStage, StageLoss

MeanOver = Literal["turns", "answers"]
PhasedT = TypeVar("PhasedT", bound=Phased[Any])
T = TypeVar("T")


@dataclass(frozen=True)
class PhasedStage(CorpusStage[PhasedT]):
    """A stage that learns to answer in conversations, phase after phase. Trains: what the phase says."""

    def curve(self) -> str:
        return "answer"

    def unfreeze(self, learner: ReactiveLearner | GrownLearner, step: int) -> None:
        learner.learn_only(self.config.at(step)[0].trains)


def mean_in_words(mean_over: MeanOver) -> str:
    """Over what the loss of conversations is a mean, for people."""
    return "a turn's tokens, summed over turns" if mean_over == "turns" else "all answer tokens"


def conversation_loss(
    scores: AnswerScores, batch: Conversations, all_batches: list[Conversations], mean_over: MeanOver
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


def conversation_batches(
    corpus: Corpus,
    template: Template,
    split: Split,
    step: int,
    size: int,
    turns: int,
    accumulate: int,
    paraphrase_rate: float | None = None,
) -> list[Conversations]:
    """A step's conversations as tensors, in at most ``accumulate`` micro-batches."""
    encoded = corpus.encoded(template, split, step, size, turns, paraphrase_rate)
    return [collate_conversations(part, template.tokens.pad) for part in split_evenly(encoded, accumulate)]


def turns_at(corpus: Corpus, split: Split, step: int, longest: int, shortest: int | None) -> int:
    """Turns of a step's conversations: where a shortest length is given, in training drawn between the two."""
    if shortest is None or split != "train":
        return longest
    return random.Random(f"{corpus.seed} {step}").randint(shortest, longest)


def split_evenly(items: list[T], parts: int) -> list[list[T]]:
    """At most ``parts`` lists of nearly equal size, in order."""
    bounds = [round(index * len(items) / parts) for index in range(parts + 1)]
    return [items[start:stop] for start, stop in pairwise(bounds) if stop > start]


def spread(few: Sequence[T], many: Sequence[T]) -> list[T]:
    """All of both, each at even distances, so that every micro-batch has its share of them."""
    placed = [((index + 0.5) / len(items), item) for items in (few, many) for index, item in enumerate(items)]
    return [item for _, item in sorted(placed, key=lambda each: each[0])]
