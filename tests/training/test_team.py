"""Several processes train as one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rxt.cli.main import main
from rxt.training.team import Team

STAGES = ("joint", "interaction", "memory_pretrain", "memory_aware")
PHASES = json.dumps([{"steps": 4, "turns": 3, "batch_size": 4}])


def train(out: Path, workers: int, accumulate: int = 2) -> int:
    settings = [f"{stage}.optim.accumulate={accumulate}" for stage in STAGES]
    settings += [f"{stage}.steps=3" for stage in STAGES[:3]] + [f"memory_aware.phases={PHASES}", "tokenizer.conversations=40"]
    options = [word for setting in settings for word in ("--set", setting)]
    return main(["train", "smoke", "--out", str(out), "--workers", str(workers), *options])


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_does(tmp_path: Path) -> None:
    assert train(tmp_path / "one", workers=1) == 0
    assert train(tmp_path / "two", workers=2) == 0
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
    logs = [(tmp_path / name / "4-memory-aware" / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_too_few_micro_batches_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", workers=2, accumulate=1) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "rxt: 1-joint: 2 workers need optim.accumulate of at least 2 in every stage"


def test_every_item_belongs_to_one_process() -> None:
    items = list("abcdefg")
    shares = [Team(rank, 3).share(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(enumerate(items))


def test_alone_nothing_is_exchanged() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    Team().sum_gradients([parameter])
    assert parameter.grad is None
    assert Team().sum(torch.tensor(3.0)) == 3
