"""A stage with an evaluator ends with its best weights, stops when it collapses, and a stop does not change what it
becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from micro import PRETRAIN, RUN, learner, quiet, stages, template
from rich.progress import Progress
from torch import Tensor

from rxt.errors import UserError
from rxt.evaluation.retention import NOTHING, Recall, Score
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.everyday.task import Everyday
from rxt.training import loop
from rxt.training.config import RunConfig
from rxt.training.config_base import RecallConfig
from rxt.training.interrupt import Interrupt
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import LoopContext, run_stage
from rxt.training.metrics import Metrics
from rxt.training.recall import RecallProbe
from rxt.training.stages.base import StageLoss
from rxt.training.stages.memory_pretrain import MemoryPretrainStage

RUN9 = replace(RUN.having(replace(PRETRAIN, steps=9)), checkpoint_every=4)


@dataclass(frozen=True)
class Scripted:
    """Thinks of the models that it is shown what it was told to, one after another."""

    scores: Sequence[float]
    every: int = 2
    max_score_drop: float = 0.5
    keep: Literal["best", "last"] = "best"
    seen: dict[str, int] = field(default_factory=dict)
    """How many different models it was shown so far, by their weights: the same model is always thought the same of."""

    def measure(self, learner: ReactiveLearner) -> Metrics:
        assert not learner.model.training
        index = self.seen.setdefault(learner.model.fingerprint(), len(self.seen))
        return {"recall": self.scores[index]}

    def score(self, metrics: Metrics) -> float:
        return metrics["recall"]


def evaluated(evaluator: Scripted) -> MemoryPretrainStage:
    stage = stages(RUN9)[2]
    assert isinstance(stage, MemoryPretrainStage)
    return replace(stage, evaluator=evaluator)


def context(folder: Path, run: RunConfig = RUN9, interrupt: Interrupt | None = None) -> LoopContext:
    return LoopContext(run, folder, quiet(), Progress(disable=True), interrupt or Interrupt())


def printed(shared: LoopContext) -> str:
    return shared.console.file.getvalue()  # type: ignore[attr-defined]


def lines(folder: Path, split: str = "validation") -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "3-memory-pretrain" / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second", "split")}
        for line in found
        if line["split"] == split
    ]


def weights_after(steps: int) -> dict[str, Tensor]:
    subject = learner()
    stage = stages(RUN9)[2]
    optimizer = loop.make_optimizer(subject, stage.optim)
    for step in range(steps):
        loop.update(stage, subject, optimizer, RUN9.seed, step)
    return {name: tensor.clone() for name, tensor in subject.weights().items()}


def assert_weights(subject: ReactiveLearner, expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(expected[name], tensor) for name, tensor in subject.weights().items())


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.2, 0.5, 0.3, 0.4, 0.2], 4), ([0.5, 0.2, 0.4, 0.3, 0.4, 0.2], 0), ([0.5, 0.5, 0.4, 0.3, 0.4, 0.6], 9)],
    ids=["in between", "the start", "the end"],
)
def test_the_stage_ends_with_its_best_weights(scores: list[float], best: int, tmp_path: Path) -> None:
    subject = learner()
    assert run_stage(evaluated(Scripted(scores)), subject, context(tmp_path)) == best
    assert_weights(subject, weights_after(best))
    assert [(line["step"], line["recall"]) for line in lines(tmp_path)] == list(
        zip([0, 2, 4, 6, 8, 9], scores, strict=True)
    )
    again = learner(seed=1)
    assert run_stage(evaluated(Scripted([])), again, context(tmp_path)) == best, (
        "a finished stage is not evaluated again"
    )
    assert_weights(again, weights_after(best))


def test_the_last_weights_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    subject = learner()
    assert run_stage(evaluated(Scripted([0.1, 0.2, 0.5, 0.3, 0.4, 0.2], keep="last")), subject, context(tmp_path)) == 9
    assert_weights(subject, weights_after(9))


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("fallen", [0.19, math.nan])
def test_a_collapse_ends_the_stage_with_its_best_weights(
    fallen: float, keep: Literal["best", "last"], tmp_path: Path
) -> None:
    subject, shared = learner(), context(tmp_path)
    evaluator = Scripted([0.6, 0.7, 0.2, fallen, 0.9, 0.9], keep=keep)
    assert run_stage(evaluated(evaluator), subject, shared) == 2
    assert_weights(subject, weights_after(2))
    assert [line["step"] for line in lines(tmp_path)] == [0, 2, 4, 6]
    assert printed(shared).splitlines()[-1] == (
        f"3-memory-pretrain: collapsed at step 6 (its score is {fallen:.3f}, its best was 0.700): "
        "3-memory-pretrain ends with its best weights, those of step 2"
    )
    again, later = learner(seed=1), context(tmp_path)
    assert run_stage(evaluated(Scripted([])), again, later) == 2, "it stays stopped"
    assert_weights(again, weights_after(2))
    assert printed(later) == ""


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_ends_an_evaluated_stage_too(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, original_norm, calls = MemoryPretrainStage.loss, torch.nn.utils.get_total_norm, 0

    def loss(self: MemoryPretrainStage, subject: ReactiveLearner, *rest: object) -> StageLoss:
        nonlocal calls
        calls += subject.training
        found = original(self, subject, *rest)  # type: ignore[arg-type]
        return replace(found, loss=found.loss * math.nan) if calls == 6 and where == "loss" else found

    def norm(gradients: list[Tensor]) -> Tensor:
        return torch.tensor(math.inf) if calls == 6 and where == "gradient" else original_norm(gradients)

    monkeypatch.setattr(MemoryPretrainStage, "loss", loss)
    monkeypatch.setattr(torch.nn.utils, "get_total_norm", norm)
    subject, shared = learner(), context(tmp_path)
    assert run_stage(evaluated(Scripted([0.1, 0.3, 0.2])), subject, shared) == 2
    monkeypatch.undo()
    assert_weights(subject, weights_after(2))
    assert printed(shared).splitlines()[-1] == (
        "3-memory-pretrain: the loss or its gradient is not finite at step 6: "
        "3-memory-pretrain ends with its best weights, those of step 2"
    )


@pytest.mark.parametrize(
    "scores",
    [[0.6, 0.7, 0.3, 0.65, 0.6, 0.5], [0.6, 0.7, 0.3, 0.1, 0.9, 0.9]],
    ids=["to its end", "until it collapses"],
)
def test_resumed_is_uninterrupted(scores: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, evaluator = learner(), Scripted(scores)
    expected = run_stage(evaluated(evaluator), whole, context(tmp_path / "whole"))
    original, left = loop.update, 0

    def update(*arguments: object) -> list[StageLoss]:
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("power cut")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "update", update)
    for crash_at in (1, 2, 4, 3):
        left = crash_at
        with pytest.raises(RuntimeError, match="power cut"):
            run_stage(evaluated(evaluator), learner(), context(tmp_path / "cut"))
    interrupt, subject = Interrupt(), learner()
    interrupt.requested = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(evaluated(evaluator), subject, context(tmp_path / "cut", interrupt=interrupt))
    left = 0
    assert run_stage(evaluated(evaluator), subject, context(tmp_path / "cut")) == expected
    assert_weights(subject, whole.weights())
    for split in ("train", "validation"):
        assert lines(tmp_path / "cut", split) == lines(tmp_path / "whole", split)


def test_recall_is_asked_in_the_kinds_that_are_trained_on() -> None:
    mix = EverydayConfig(kinds=("name", "city"), values=40, change_rate=0.9, never_told_rate=0.9)
    probe = RecallProbe.of_mix(RecallConfig(), template(), Everyday(mix), seed=3)
    assert probe.task.settings == EverydayConfig(kinds=("name", "city"), values=40)


def test_recall_tells_shares_of_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Recall(
        {1: Score(3, 4), 4: Score(1, 4), 5: Score(1, 4), 16: Score(0, 4)},
        {"changed": Score(1, 2), "never_told": NOTHING},
    )
    monkeypatch.setattr("rxt.training.recall.measure_recall", lambda *_: found)
    probe = RecallProbe(RecallConfig(), template(), Everyday(EverydayConfig()), seed=0)
    metrics = probe.measure(learner().eval())
    assert metrics == {"recall_1_4": 0.5, "recall_5_16": 0.125, "recall_changed": 0.5, "recall": 6 / 18}
    assert probe.score(metrics) == 6 / 18


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, r"recall\.every must be at least 1, found 0"),
        ({"questions": 0}, r"recall\.questions must be at least 1"),
        ({"distances": ()}, r"recall\.distances must be some, of one turn at least"),
        ({"distances": (0, 1)}, r"recall\.distances must be some, of one turn at least"),
        ({"special": -1}, r"recall\.special cannot be negative"),
        ({"max_score_drop": 0.0}, r"recall\.max_score_drop must lie in \(0, 1\]"),
    ],
)
def test_what_cannot_be_asked_is_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(RecallConfig(), **changes)  # type: ignore[arg-type]
