"""The one stage of a classifier's training: cross-entropy over labelled texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.generation.scoring import at_least_float32
from rxt.model.classifier import SequenceClassifier
from rxt.training.classify.examples import Example
from rxt.training.classify.scores import Scores
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.learner import Learner
from rxt.training.loop import autocast, step_generator
from rxt.training.metrics import Metrics
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.stages.base import StageLoss

EVALUATION_BATCH = 64


class ClassifierLearner(Learner):
    """A classifier, all of which learns, or the head alone."""

    def __init__(self, classifier: SequenceClassifier, frozen: bool) -> None:
        super().__init__(classifier.encoder.config.vocab_size)
        self.classifier = classifier
        classifier.encoder.requires_grad_(not frozen)


@dataclass(frozen=True)
class LabelledRows:
    """A batch of N texts."""

    rows: Rows
    labels: Tensor
    """(N,) indices of classes."""

    @classmethod
    def of(cls, examples: Sequence[Example], pad: int) -> LabelledRows:
        rows = collate_rows([Encoded(example.ids, [False] * len(example.ids)) for example in examples], pad)
        return cls(rows, torch.tensor([example.label for example in examples]))

    def to(self, device: torch.device) -> LabelledRows:
        """The same on a device."""
        return LabelledRows(self.rows.to(device), self.labels.to(device))


@dataclass(frozen=True)
class HeldOut:
    """Judges a classifier by texts that it does not train on."""

    batches: Sequence[LabelledRows]
    every: int
    """Updates: an epoch."""
    max_score_drop: float = math.inf
    keep: Literal["best", "last"] = "last"
    """The best of many epochs on these texts would look better than it is."""

    @torch.no_grad()
    def scores(self, learner: ClassifierLearner) -> Scores:
        """Of the classifier as it is."""
        learner.eval()
        predicted: list[Tensor] = []
        for batch in self.batches:
            rows = batch.rows.to(learner.device)
            with autocast(learner.device):
                predicted.append(learner.classifier(rows.ids, rows.mask).argmax(-1).cpu())
        labels = torch.cat([batch.labels for batch in self.batches])
        return Scores.of(torch.cat(predicted), labels, len(learner.classifier.classes))

    def measure(self, learner: ClassifierLearner) -> Metrics:
        scores = self.scores(learner)
        return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1}

    def score(self, metrics: Metrics) -> float:
        return metrics["macro_f1"]


@dataclass(frozen=True)
class ClassifyStage:
    """Data: labelled texts, each once an epoch. Trains: the head, and the encoder unless it is frozen."""

    train: Sequence[Example]
    evaluator: HeldOut
    optim: OptimConfig
    steps: int
    batch_size: int
    pad: int
    seed: int
    name: str = "classify"

    def collect(
        self,
        learner: ClassifierLearner,
        step: int,
        generator: torch.Generator,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Nothing: the data is there already."""

    def unfreeze(self, learner: ClassifierLearner, step: int) -> None:
        """Nothing: the same parameters learn in every step."""

    def batches(self, split: Split, step: int) -> list[LabelledRows]:
        """The texts of an update; for validation all that are held out."""
        if split == "validation":
            return list(self.evaluator.batches)
        count = len(self.train)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        chosen = [self.train[_order(self.seed, place // count, count)[place % count]] for place in places]
        return [LabelledRows.of(chosen, self.pad)]

    def loss(
        self,
        learner: ClassifierLearner,
        batch: LabelledRows,
        all_batches: list[LabelledRows],
        generator: torch.Generator,
    ) -> StageLoss:
        """The mean cross-entropy over all texts of the update."""
        logits = at_least_float32(learner.classifier(batch.rows.ids, batch.rows.mask))
        loss = F.cross_entropy(logits, batch.labels, reduction="sum") / sum(len(each.labels) for each in all_batches)
        return StageLoss(loss, {}, batch.rows.tokens)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """The order of the texts in an epoch."""
    generator = step_generator(seed, "classify", "order", epoch, 0)
    return tuple(torch.randperm(count, generator=generator).tolist())


def evaluation_batches(examples: Sequence[Example], pad: int) -> list[LabelledRows]:
    """All examples, those of like length together."""
    ordered = sorted(examples, key=lambda example: len(example.ids))
    starts = range(0, len(ordered), EVALUATION_BATCH)
    return [LabelledRows.of(ordered[start : start + EVALUATION_BATCH], pad) for start in starts]
