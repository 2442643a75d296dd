"""The loop: what it logs and keeps, and how it stops."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import AWARE, PRETRAIN, RUN, learner, quiet, stages
from rich.progress import Progress

from rxt.errors import UserError
from rxt.training.checkpoint import Checkpoints
from rxt.training.config import RunConfig
from rxt.training.interrupt import Interrupt
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import LoopContext, run_stage, step_generator, update, validate
from rxt.training.optim import make_optimizer
from rxt.training.stages.base import Stage, StageLoss
from rxt.training.stages.memory_pretrain import MemoryPretrainStage


def context(folder: Path, run: RunConfig = RUN) -> LoopContext:
    return LoopContext(run, folder, quiet(), Progress(disable=True), Interrupt())


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*step*"))


def with_steps(steps: int) -> tuple[RunConfig, Stage]:
    run = RUN.having(replace(PRETRAIN, steps=steps))
    return run, stages(run)[2]


def test_a_stage_logs_validates_and_keeps_what_it_says(tmp_path: Path) -> None:
    run, stage = with_steps(11)
    run = replace(run, log_every=2, validate_every=4, checkpoint_every=3, keep_checkpoints=2)
    shared = context(tmp_path, run)
    run_stage(stage, learner(), shared)
    lines = metrics(tmp_path / stage.name)
    assert [line["step"] for line in lines if line["split"] == "train"] == [2, 4, 6, 8, 10, 11]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [4, 8, 11]
    assert {"step", "split", "loss", "cosine", "learning_rate", "tokens_per_second", "seconds"} == set(lines[0])
    best = min((line for line in lines if line["split"] == "validation"), key=lambda line: line["loss"])["step"]
    expected = sorted({9, 11, best})
    assert checkpoints(tmp_path / stage.name) == [f"step-{step:06d}" for step in expected]
    state = json.loads((tmp_path / stage.name / "step-000011" / "state.json").read_text())
    assert state["step"] == 11
    assert state["best_step"] == best
    printed = shared.console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("validation") == 3
    assert all(line.startswith(f"{stage.name}  step ") for line in printed.splitlines()), "a long line is not broken"


def test_the_best_and_the_last_checkpoints_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([5.0, 1.0, 4.0, 3.0, 0.5, 2.0])
    monkeypatch.setattr("rxt.training.loop.validate", lambda *_: {"loss": next(losses)})
    run, stage = with_steps(12)
    run = replace(run, validate_every=2, checkpoint_every=1, keep_checkpoints=2)
    kept = []

    def begin(self: Checkpoints, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self.finish()
        kept.append(checkpoints(tmp_path / stage.name))

    original = Checkpoints.begin
    monkeypatch.setattr(Checkpoints, "begin", begin)
    run_stage(stage, learner(), context(tmp_path, run))
    assert kept[8] == ["step-000004", "step-000008", "step-000009"]
    assert kept[11] == ["step-000010", "step-000011", "step-000012"], "the best of step 4 has gone for that of step 10"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_before_any_weight_moves(
    bad: float, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, stage = with_steps(9)
    run = replace(run, checkpoint_every=2, validate_every=100)
    original = MemoryPretrainStage.loss
    calls = 0
    copies: list[dict[str, torch.Tensor]] = []

    def loss(self: MemoryPretrainStage, subject: ReactiveLearner, *rest: object) -> StageLoss:
        nonlocal calls
        calls += 1
        copies.append({name: tensor.clone() for name, tensor in subject.weights().items()})
        found = original(self, subject, *rest)  # type: ignore[arg-type]
        return replace(found, loss=found.loss * bad) if calls == 6 and where == "loss" else found

    if where == "gradient":  # the loss is finite and its gradient is not

        def norm(_: list[torch.Tensor]) -> torch.Tensor:
            return torch.tensor(bad if calls == 6 else 1.0)

        monkeypatch.setattr(torch.nn.utils, "get_total_norm", norm)
    monkeypatch.setattr(MemoryPretrainStage, "loss", loss)
    subject = learner()
    with pytest.raises(
        UserError,
        match=r"^3-memory-pretrain: the loss or its gradient is not finite at step 6; the last checkpoint is kept",
    ):
        run_stage(stage, subject, context(tmp_path, run))
    assert all(torch.equal(copies[5][name], tensor) for name, tensor in subject.weights().items())
    assert checkpoints(tmp_path / stage.name) == ["step-000002", "step-000004"]
    assert [line["step"] for line in metrics(tmp_path / stage.name)] == [1, 2, 3, 4, 5]


def test_validation_asks_the_same_every_time_and_changes_nothing(tmp_path: Path) -> None:
    subject = learner()
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    for stage in stages():
        first = validate(stage, subject, RUN.seed, 2)
        assert first == validate(stage, subject, RUN.seed, 2)
        assert first["loss"] != validate(stage, subject, RUN.seed + 1, 2)["loss"], "another draw of what is random"
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.weights().items())
    assert all(parameter.grad is None for parameter in subject.parameters())


def test_validation_data_is_no_training_data() -> None:
    for stage in stages():
        rows = [
            {
                tuple(row.tolist())
                for batch in stage.batches(split, 0)
                for row in (batch.rows if hasattr(batch, "rows") else batch).ids
            }
            for split in ("train", "validation")
        ]
        assert rows[0] != rows[1]


def test_a_steps_randomness_is_a_function_of_where_it_stands() -> None:
    seeds = {
        (seed, stage, split, step, index): step_generator(seed, stage, split, step, index).initial_seed()
        for seed in (0, 1)
        for stage in ("a", "b")
        for split in ("train", "validation")
        for step in (0, 1, 11)
        for index in (0, 1)
    }
    assert len(set(seeds.values())) == len(seeds)
    assert step_generator(0, "a", "train", 1, 0).initial_seed() == seeds[0, "a", "train", 1, 0]


def test_the_same_steps_give_the_same_weights() -> None:
    subjects = [learner(), learner()]
    for subject in subjects:
        torch.manual_seed(id(subject) % 1000)  # the global state plays no part
        for stage in stages():
            optimizer = make_optimizer(subject, stage.optim)
            for step in (0, stage.steps - 1):
                update(stage, subject, optimizer, RUN.seed, step)
    first, second = (subject.weights() for subject in subjects)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_gradients_are_clipped_to_their_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stages(RUN.having(replace(AWARE, optim=replace(AWARE.optim, max_grad_norm=1e-3))))[3]
    subject = learner()
    optimizer = make_optimizer(subject, stage.optim)
    norms = []

    def step() -> None:
        squares = [parameter.grad.square().sum() for parameter in subject.parameters() if parameter.grad is not None]
        norms.append(torch.stack(squares).sum().sqrt().item())

    monkeypatch.setattr(optimizer, "step", step)
    update(stage, subject, optimizer, RUN.seed, 5)
    assert norms == [pytest.approx(1e-3, rel=1e-3)]
