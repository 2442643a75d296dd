"""Several processes train as one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from micro import learner, template
from safetensors.torch import load_file

from rxt.cli.main import main
from rxt.interop.layouts import save_pretrained
from rxt.training.process_group import ProcessGroup

STAGES = ("joint", "interaction", "memory_pretrain", "memory_aware")
PHASES = json.dumps([{"steps": 4, "turns": 3, "batch_size": 4}])


def train(out: Path, workers: int, accumulate: int = 2) -> int:
    settings = [f"{stage}.optim.accumulate={accumulate}" for stage in STAGES]
    settings += [f"{stage}.steps=3" for stage in STAGES[:3]] + [
        f"memory_aware.phases={PHASES}",
        "tokenizer.conversations=40",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    return main(["train", "smoke", "--out", str(out), "--workers", str(workers), *options])


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_does(tmp_path: Path) -> None:
    assert train(tmp_path / "one", workers=1) == 0
    assert train(tmp_path / "two", workers=2) == 0
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    logs = [(tmp_path / name / "4-memory-aware" / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
def test_two_processes_play_what_one_does(tmp_path: Path) -> None:
    """Each plays half of the episodes; what they learn from is the same."""
    start = tmp_path / "start"
    save_pretrained(learner(seed=3).model, start)
    template().tokenizer.save(start / "tokenizer.json")
    phases = json.dumps([{"steps": 5, "turns": 4, "batch_size": 4, "reset_rate": 0.5}])
    settings = [
        f"reinforcement.phases={phases}",
        "reinforcement.optim.accumulate=2",
        "reinforcement.longest_answer=5",
        "log_every=1",
    ]
    settings += ["reinforcement.recall.questions=2", "reinforcement.recall.special=0", "reinforcement.algorithm=impo"]
    settings += ["reinforcement.reward=composite", "reinforcement.recall.distances=[1,2]"]
    options = [word for setting in settings for word in ("--set", setting)]
    for name, workers in (("one", "1"), ("two", "2")):
        assert (
            main(["train", "mrl", "--from", str(start), "--out", str(tmp_path / name), "--workers", workers, *options])
            == 0
        )
    logs = [(tmp_path / name / "5-reinforcement" / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    found = [[line for line in map(json.loads, log) if line["split"] == "train"] for log in logs]
    for number in ("reward", "entropy", "value", "answer_tokens", "memory_change"):
        assert [line[number] for line in found[1]] == pytest.approx([line[number] for line in found[0]], rel=1e-3)


def test_what_a_process_group_gathers_is_in_order() -> None:
    assert ProcessGroup().gather([(0, "a"), (1, "b")]) == ["a", "b"]


def test_too_few_micro_batches_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", workers=2, accumulate=1) == 2
    (error,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rxt: ")]
    assert error == "rxt: 1-joint: 2 workers need optim.accumulate of at least 2 in every stage"


def test_every_item_belongs_to_one_process() -> None:
    items = list("abcdefg")
    shards = [ProcessGroup(rank, 3).shard(items) for rank in range(3)]
    assert sorted(item for shard in shards for item in shard) == list(enumerate(items))


def test_alone_nothing_is_exchanged() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    ProcessGroup().sum_gradients([parameter])
    assert parameter.grad is None
    assert ProcessGroup().sum(torch.tensor(3.0)) == 3
