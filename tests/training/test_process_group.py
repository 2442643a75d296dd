"""Several processes train as one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from grown import store_base
from micro import learner, template
from safetensors.torch import load_file

from rxt.cli.main import main
from rxt.interop.layouts import save_pretrained
from rxt.training.process_group import ProcessGroup

STAGES = ("joint", "interaction", "memory_pretrain", "memory_aware")
PHASES = json.dumps(
    [{"steps": 4, "turns": 5, "batch_size": 3}, {"steps": 2, "turns": 3, "batch_size": 1}]  # nothing for the second
)


def train(out: Path, workers: int, accumulate: int = 4, parallel: str = "replicate", data: str | None = None) -> int:
    settings = [f"{stage}.optim.accumulate={accumulate}" for stage in STAGES]
    settings += [f"{stage}.steps=3" for stage in STAGES[:3]] + [
        f"memory_aware.phases={PHASES}",
        "tokenizer.conversations=40",
        "log_every=1",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    options += [] if data is None else ["--data", data, "--everyday-share", "0"]
    return main(
        ["train", "smoke", "--out", str(out), "--workers", str(workers), "--parallel", parallel, *options],
    )


def uneven_talks(path: Path) -> str:
    """Conversations of one to five turns."""
    talks = [
        [{"query": f"{name} asks {turn}", "answer": f"{turn} says {name}"} for turn in range(1 + name % 5)]
        for name in range(100)
    ]
    path.write_text("".join(json.dumps({"interactions": talk}) + "\n" for talk in talks))
    return str(path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, on the conversations in the file beside it."""
    folder = tmp_path_factory.mktemp("one")
    assert train(folder / "run", workers=1, data=uneven_talks(folder / "talks.jsonl")) == 0
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_several_processes_train_the_model_that_one_does(
    one: Path, workers: int, parallel: str, tmp_path: Path
) -> None:
    """However uneven the conversations are, and where one of them has nothing to compute."""
    several = tmp_path / "several"
    assert train(several, workers, parallel=parallel, data=str(one.parent / "talks.jsonl")) == 0
    expected, found = (load_file(run / "model" / "model.safetensors") for run in (one, several))
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for stage in sorted(folder.parent.name for folder in one.glob("*/stage.json")):
        logs = [(run / stage / "metrics.jsonl").read_text().splitlines() for run in (one, several)]
        losses = [[json.loads(line)["loss"] for line in log] for log in logs]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4), stage
    parts = [path.suffix for path in several.glob("*/step-*/parts/*")]
    assert set(parts) == ({".safetensors"} if parallel == "shard" else set())


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_gpus_train_as_one_does(parallel: str, tmp_path: Path) -> None:
    """In bfloat16, so not to the last digit."""
    talks = uneven_talks(tmp_path / "talks.jsonl")
    assert train(tmp_path / "one", workers=1, data=talks) == 0
    assert train(tmp_path / "two", workers=2, parallel=parallel, data=talks) == 0
    for log in (tmp_path / "one").glob("*/metrics.jsonl"):
        runs = [log, tmp_path / "two" / log.relative_to(tmp_path / "one")]
        losses = [[json.loads(line)["loss"] for line in run.read_text().splitlines()] for run in runs]
        assert losses[1] == pytest.approx(losses[0], rel=2e-2), log.parent.name


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_processes_play_what_one_does(parallel: str, tmp_path: Path) -> None:
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
        words = ["train", "mrl", "--from", str(start), "--out", str(tmp_path / name), "--workers", workers]
        assert main([*words, "--parallel", parallel, *options]) == 0
    logs = [(tmp_path / name / "5-reinforcement" / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    found = [[line for line in map(json.loads, log) if line["split"] == "train"] for log in logs]
    for number in ("reward", "entropy", "value", "answer_tokens", "memory_change"):
        assert [line[number] for line in found[1]] == pytest.approx([line[number] for line in found[0]], rel=1e-3)


PREFERRED = ("preference.steps=4", "preference.batch_size=4", "preference.turns=3", "preference.recall=null")
REMEMBERED = (
    'adaptation.phases=[{"steps": 4, "turns": 3, "batch_size": 4, "trains": ["decoder", "memory_attention"]}]',
    'adaptation.keep={"interactions": 3, "batch_size": 2}',
    "adaptation.precision=bfloat16",
)


LOOKED_UP = (
    'retrieval.phases=[{"steps": 4, "turns": 5, "batch_size": 3, "trains": ["decoder", "encoder"], "shortest": 2}]',
    "memory_aware=null",
    "tokenizer.conversations=40",
    *(f"model.{part}.layers=2" for part in ("decoder", "encoder", "memory_attention")),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["preference", "adaptation", "retrieval"])
def test_two_processes_hold_in_parts_what_one_holds_whole(kind: str, tmp_path: Path) -> None:
    """The model that a stage began with, a base, and encoder and decoder without a memory."""
    start = tmp_path / "start"
    if kind == "preference":
        save_pretrained(learner(seed=3).model, start)
        template().tokenizer.save(start / "tokenizer.json")
        words, settings = ["dmpo", "--from", str(start)], PREFERRED
    elif kind == "retrieval":
        words, settings = ["open"], LOOKED_UP
    else:
        words, settings = ["adapt", "--base", str(store_base(start)), "--slots", "16"], REMEMBERED
    settings = (*settings, f"{kind}.optim.accumulate=2", "log_every=1", "validation_batches=1")
    options = [word for setting in settings for word in ("--set", setting)]
    for workers in ("1", "2"):
        out = ["--out", str(tmp_path / workers), "--workers", workers, "--parallel", "shard"]
        assert main(["train", *words, *options, *out]) == 0
    (one, two) = (
        [json.loads(line)["loss"] for line in log.read_text().splitlines()]
        for workers in ("1", "2")
        for log in (tmp_path / workers).glob("*/metrics.jsonl")
    )
    assert len(one) >= 5
    assert two == pytest.approx(one, rel=1e-4)


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
    assert ProcessGroup().sum(torch.tensor(3.0)) == 3
    assert ProcessGroup().every("mine") == ["mine"]
    assert ProcessGroup().from_main("mine") == "mine"
