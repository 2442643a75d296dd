"""Recall as an evaluator of a stage: what the model remembers in validation conversations, its own answers memorized
on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from rxt.data.template import Template
from rxt.evaluation.retention import measure_recall
from rxt.evaluation.subject import Reactive
from rxt.model.reactive import ReactiveTransformer
from rxt.tasks.base import Task
from rxt.training.config_base import RecallConfig
from rxt.training.data_config import DataConfig
from rxt.training.metrics import Metrics

BANDS = ((1, 4), (5, 16), (17, 64))
"""Distances that are reported together."""


class Remembers(Protocol):
    """Whatever has a Reactive Transformer in it."""

    @property
    def model(self) -> ReactiveTransformer: ...


@dataclass(frozen=True)
class RecallProbe:
    """Asks what the configuration says, of the kinds of facts that are trained on; always the same questions."""

    config: RecallConfig
    template: Template
    task: Task[Any]
    seed: int

    @classmethod
    def of_mix(cls, config: RecallConfig, template: Template, trained_on: Task[Any], seed: int) -> Self:
        """Kinds and values of the mix that is trained on; everything else is as in evaluation."""
        return cls(config, template, trained_on.as_evaluated(), seed)

    @classmethod
    def of_data(cls, config: RecallConfig | None, template: Template, data: DataConfig, seed: int) -> Self | None:
        """Asks for facts as generated conversations tell them; data without such conversations has no such probe."""
        if config is None or data.judged is None:
            return None
        return cls.of_mix(config, template, data.judged, seed)

    @property
    def every(self) -> int:
        return self.config.every

    @property
    def max_score_drop(self) -> float:
        return self.config.max_score_drop

    @property
    def keep(self) -> Literal["best", "last"]:
        return self.config.keep

    def measure(self, learner: Remembers) -> Metrics:
        """Shares of right answers: by distance, of the task's special kinds of questions, and of all questions
        together."""
        asked = self.config
        subject = Reactive(learner.model, self.template)
        found = measure_recall(
            subject, "validation", asked.distances, asked.questions, asked.special, self.seed, self.task
        )
        bands = {f"recall_{first}_{last}": found.between(first, last) for first, last in BANDS}
        special = {f"recall_{kind}": score for kind, score in found.special.items()}
        scores = {**bands, **special, "recall": found.all}
        return {name: score.share for name, score in scores.items() if score.asked}

    def score(self, metrics: Metrics) -> float:
        """The share of all questions that were answered rightly."""
        return metrics["recall"]
