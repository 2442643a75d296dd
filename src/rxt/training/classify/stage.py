"""The one stage of a classifier's training: cross-entropy over labelled texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.generation.scoring import at_least_float32
from rxt.model.classifier import SequenceClassifier
from rxt.training.classify.examples import Example
from rxt.training.classify.scores import Scores
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.learner import Learner
from rxt.training.loop import step_generator
from rxt.training.metrics import Metrics
from rxt.training.precision import autocast, products_of
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.stages.base import StageLoss
from rxt.understanding.text_encoder import TextEncoder

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class LabelledRows:
    """A batch of N texts."""

    rows: Rows
    labels: Tensor
    """(N,) indices of classes."""
    pooled: Tensor | None
    """(N, D) means over the tokens, where they are known."""

    @classmethod
    def of(cls, examples: Sequence[Example], pad: int) -> LabelledRows:
        rows = collate_rows([Encoded(example.ids, [False] * len(example.ids)) for example in examples], pad)
        known = [example.pooled for example in examples if example.pooled is not None]
        labels = torch.tensor([example.label for example in examples])
        return cls(rows, labels, torch.stack(known) if known else None)

    def to(self, device: torch.device) -> LabelledRows:
        """The same on a device."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return LabelledRows(self.rows.to(device), self.labels.to(device), pooled)


class ClassifierLearner(Learner):
    """A classifier, all of which learns, or the head alone.

    Encoders have no final norm: the means over tokens of different texts are long, nearly parallel vectors. The head
    learns on what makes them differ, (pooled − center) / scale; :meth:`result` puts the two into its weights.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, classifier: SequenceClassifier, frozen: bool, pooled: Tensor) -> None:
        """``pooled`` (N, D): what the encoder makes, as it is now, of texts to train on."""
        super().__init__(classifier.encoder.config.vocab_size)
        self.classifier = classifier
        classifier.encoder.requires_grad_(not frozen)
        spread = pooled.std(0, correction=0)
        self.register_buffer("center", pooled.mean(0))
        self.register_buffer("scale", spread + 1e-3 * spread.mean() + 1e-12)

    def logits(self, batch: LabelledRows) -> Tensor:
        """(N, C)"""
        rows = batch.rows
        pooled = self.classifier.pooled(rows.ids, rows.mask) if batch.pooled is None else batch.pooled
        return self.classifier.head((pooled - self.center) / self.scale)

    @torch.no_grad()
    def result(self) -> SequenceClassifier:
        """The classifier that computes the same by itself, ready for inference."""
        made = deepcopy(self.classifier).eval()
        made.head.weight.div_(self.scale)
        made.head.bias.sub_(made.head.weight @ self.center)
        return made


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
            with autocast(learner.device, products_of(learner.device)):
                predicted.append(learner.logits(batch.to(learner.device)).argmax(-1).cpu())
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
    parts: int = 1
    """Micro-batches of an update: one for each process."""
    name: str = "classify"

    def beside(self, learner: ClassifierLearner) -> Sequence[nn.Module]:
        """None: its loss is computed with the learner alone."""
        return ()

    def collects(self, step: int) -> bool:
        """No: the data is there already."""
        return False

    def collect(
        self,
        learner: ClassifierLearner,
        step: int,
        generator: torch.Generator,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Nothing."""

    def unfreeze(self, learner: ClassifierLearner, step: int) -> None:
        """Nothing: the same parameters learn in every step."""

    @property
    def made_ahead(self) -> bool:
        """The examples are in memory."""
        return False

    def batches(self, split: Split, step: int) -> list[LabelledRows]:
        """The texts of an update; for validation all that are held out."""
        if split == "validation":
            return list(self.evaluator.batches)
        count = len(self.train)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        chosen = [self.train[_order(self.seed, place // count, count)[place % count]] for place in places]
        return [LabelledRows.of(chosen[part :: self.parts], self.pad) for part in range(self.parts)]

    def loss(
        self,
        learner: ClassifierLearner,
        batch: LabelledRows,
        all_batches: list[LabelledRows],
        generator: torch.Generator,
    ) -> StageLoss:
        """The mean cross-entropy over all texts of the update."""
        logits = at_least_float32(learner.logits(batch))
        loss = F.cross_entropy(logits, batch.labels, reduction="sum") / sum(len(each.labels) for each in all_batches)
        return StageLoss(loss, {}, batch.rows.tokens)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """The order of the texts in an epoch."""
    generator = step_generator(seed, "classify", "order", epoch, 0)
    return tuple(torch.randperm(count, generator=generator).tolist())


@torch.no_grad()
def pooled(classifier: SequenceClassifier, examples: Sequence[Example], reader: TextEncoder) -> Tensor:
    """(N, D) what the encoder makes of texts, on the CPU."""
    classifier.eval()
    found = torch.empty(len(examples), classifier.encoder.config.width)
    for places, rows in reader.batches([example.ids for example in examples]):
        found[places] = classifier.pooled(rows.ids, rows.mask).float().cpu()
    return found


def with_pooled(classifier: SequenceClassifier, examples: Sequence[Example], reader: TextEncoder) -> list[Example]:
    """Examples of which the encoder has read each once and for all."""
    found = pooled(classifier, examples, reader)
    return [replace(example, pooled=mean) for example, mean in zip(examples, found, strict=True)]


def evaluation_batches(examples: Sequence[Example], pad: int) -> list[LabelledRows]:
    """All examples, those of like length together."""
    ordered = sorted(examples, key=lambda example: len(example.ids))
    starts = range(0, len(ordered), EVALUATION_BATCH)
    return [LabelledRows.of(ordered[start : start + EVALUATION_BATCH], pad) for start in starts]
