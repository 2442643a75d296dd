"""A run that was stopped, however rudely, ends as if it had not been: same weights bit for bit, same losses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from micro import INTERACTION, JOINT, PRETRAIN, RUN, learner, quiet, stages
from safetensors.torch import load_file
from torch import Tensor

import rxt
import rxt.training.loop as loop
from rxt.errors import UserError
from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.interrupt import Interrupt, interruptible
from rxt.training.learner import ReactiveLearner
from rxt.training.optim import Optimizer, make_optimizer
from rxt.training.pipeline import train
from rxt.training.stages.base import Stage, StageLoss
from rxt.training.together import Together

STAGES = [stage.name for stage in stages()]
UPDATES = sum(stage.steps for stage in stages())


def losses(out: Path) -> list[dict[str, object]]:
    """Every logged number but the speed."""
    found = []
    for stage in STAGES:
        for line in (out / stage / "metrics.jsonl").read_text().splitlines():
            values = json.loads(line)
            values.pop("tokens_per_second", None)
            values.pop("seconds", None)
            found.append({"stage": stage, **values})
    return found


def weights(out: Path) -> dict[str, Tensor]:
    last = sorted((out / STAGES[-1]).glob("step-*"))[-1]
    model = load_file(out / "model" / "model.safetensors")
    return {
        **load_file(last / "weights.safetensors"),
        **load_file(last / "optimizer.safetensors"),
        **{f"saved {name}": model[name] for name in model},
    }


def assert_same_end(out: Path, whole: Path) -> None:
    found, expected = weights(out), weights(whole)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert losses(out) == losses(whole)
    for name in ("run.json", "tokenizer.json", "model/config.json", "model/tokenizer.json"):
        assert (out / name).read_text() == (whole / name).read_text()
    assert card_without_time(out) == card_without_time(whole)
    assert not list(out.rglob(".step-*.tmp")), "nothing half-written is left"


def card_without_time(out: Path) -> list[str]:
    """A busy machine takes longer for the same training."""
    lines = (out / "model" / "README.md").read_text().splitlines()
    timed = [line for line in lines if line.startswith("- time: ")]
    assert len(timed) == 1
    return [line for line in lines if line not in timed]


def assert_whole_checkpoints(out: Path) -> None:
    for folder in out.glob("*/step-*"):
        state = json.loads((folder / "state.json").read_text())
        assert state["step"] == int(folder.name.removeprefix("step-"))
        assert load_file(folder / "weights.safetensors")
        load_file(folder / "optimizer.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without any interruption."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(RUN, out, quiet())
    return out


@pytest.fixture
def after_updates(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, Callable[[], None]]], None]:
    """Do something in the middle of the n-th update of all that are made from here on."""
    original = loop.update

    def install(actions: dict[int, Callable[[], None]]) -> None:
        made = 0

        def update(
            stage: Stage,
            subject: ReactiveLearner,
            optimizer: Optimizer,
            seed: int,
            step: int,
            together: Together[Any],
            batches: Callable[[int], list[Any]],
        ) -> list[StageLoss]:
            nonlocal made
            made += 1
            found = original(stage, subject, optimizer, seed, step, together, batches)
            actions.get(made, lambda: None)()
            return found

        monkeypatch.setattr(loop, "update", update)

    return install


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_whole_run_has_all_its_files(whole: Path) -> None:
    assert {child.name for child in whole.iterdir()} - {"curves.png"} == {
        ".lock",
        "run.json",
        "data.json",
        "tokenizer.json",
        "encoder",
        "model",
        *STAGES,
    }
    parents = [json.loads((whole / stage / "stage.json").read_text())["parent"] for stage in STAGES]
    assert parents == [
        "tokenizer.json",
        "1-joint/step-000006",
        "2-interaction/step-000006",
        "3-memory-pretrain/step-000006",
    ]
    assert json.loads((whole / STAGES[3] / "stage.json").read_text())["config"]["phases"][2]["turns"] == 4
    assert json.loads((whole / "run.json").read_text())["seed"] == RUN.seed


def test_the_encoder_alone_is_that_of_the_last_stage_that_guesses_words(whole: Path) -> None:
    kept = load_file(whole / STAGES[1] / "step-000006" / "weights.safetensors")
    fill_mask = rxt.FillMask.from_pretrained(whole / "encoder")
    found = {
        **{f"model.encoder.{name}": tensor for name, tensor in fill_mask.encoder.state_dict().items()},
        **{f"mlm_head.{name}": tensor for name, tensor in fill_mask.mlm_head.state_dict().items()},
    }
    found["model.decoder.embedding.weight"] = found.pop("model.encoder.embedding.weight")
    assert {name for name in kept if name.startswith(("model.encoder.", "mlm_head."))} <= found.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in found.items())
    assert len(fill_mask("Hello [MASK]!", 3)[0]) == 3
    card = (whole / "model" / "README.md").read_text()
    assert "| 4-memory-aware | 8 |" in card
    assert_whole_checkpoints(whole)


def test_ctrl_c_at_several_points(whole: Path, tmp_path: Path, after_updates: Callable) -> None:
    out = tmp_path / "run"
    for updates in (1, 4, 3, 8):  # in stage 1, 1, 2 and 3
        after_updates({updates: ctrl_c})
        console = quiet()
        with pytest.raises(KeyboardInterrupt):
            train(RUN, out, console)
        assert "stopped and saved after step" in console.file.getvalue()  # type: ignore[attr-defined]
        assert_whole_checkpoints(out)
    after_updates({})
    train(RUN, out, quiet())
    assert_same_end(out, whole)


def test_a_crash_at_any_update(whole: Path, tmp_path: Path, after_updates: Callable) -> None:
    """Without any saving on the way out: the run goes on from the checkpoint before."""

    def crash() -> None:
        raise RuntimeError("power cut")

    out = tmp_path / "run"
    for updates in (1, 2, 5, 9, 10, 3):
        after_updates({updates: crash})
        with pytest.raises(RuntimeError, match="power cut"):
            train(RUN, out, quiet())
        assert_whole_checkpoints(out)
    after_updates({})
    train(RUN, out, quiet())
    assert_same_end(out, whole)


def test_a_crash_while_a_checkpoint_is_written(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.fsync
    left = 0

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("power cut")
        original(descriptor)

    out = tmp_path / "run"
    monkeypatch.setattr(os, "fsync", fsync)
    for writes in (4, 5, 9, 14, 21):  # run.json and tokenizer.json come first, and stage.json before each stage
        left = writes
        with pytest.raises(RuntimeError, match="power cut"):
            train(RUN, out, quiet())
        assert_whole_checkpoints(out)
    monkeypatch.setattr(os, "fsync", original)
    train(RUN, out, quiet())
    assert_same_end(out, whole)


@pytest.mark.slow
def test_kill_9_at_random_moments(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    rng = random.Random()
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        if kills < 3:
            time.sleep(rng.uniform(0.1, 0.8))
            process.kill()
        code = process.wait()
        _, errors = process.communicate()
        assert code in (0, -signal.SIGKILL), errors
        kills += code != 0
        assert_whole_checkpoints(out)
        if code == 0:
            break
    assert kills
    assert_same_end(out, whole)


def test_a_finished_run_does_nothing_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights(whole), losses(whole)
    monkeypatch.setattr(loop, "update", None)
    assert train(RUN, whole, quiet()) == whole / "model"
    after = weights(whole), losses(whole)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1] == after[1]


def test_a_stage_without_steps_passes_its_weights_on(tmp_path: Path, after_updates: Callable) -> None:
    run = RUN.having(replace(INTERACTION, steps=0), replace(PRETRAIN, steps=0))
    train(run, tmp_path / "whole", quiet())
    after_updates({8: ctrl_c})
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "run", quiet())
    after_updates({})
    train(run, tmp_path / "run", quiet())
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_metrics_cut_by_a_crash_are_mended(whole: Path, tmp_path: Path, after_updates: Callable) -> None:
    out = tmp_path / "run"
    after_updates({3: ctrl_c})
    with pytest.raises(KeyboardInterrupt):
        train(RUN, out, quiet())
    with open(out / STAGES[0] / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "split": "train", "loss": 9.9}\n{"step": 5, "spl')
    after_updates({})
    train(RUN, out, quiet())
    assert losses(out) == losses(whole)


class TestCheckpoints:
    @staticmethod
    def make(folder: Path, keep: int = 2) -> tuple[Checkpoints, ReactiveLearner, Optimizer]:
        subject = learner()
        return Checkpoints(folder, keep), subject, make_optimizer(subject, JOINT.optim)

    def test_what_is_not_whole_is_not_there_and_goes(self, tmp_path: Path) -> None:
        checkpoints, subject, optimizer = self.make(tmp_path)
        assert checkpoints.last() is None
        checkpoints.save(subject, optimizer, StageState(1))
        (tmp_path / "step-000007").mkdir()
        (tmp_path / ".step-000009.tmp").mkdir()
        (tmp_path / ".step-000009.tmp" / "state.json").write_text('{"step": 9}')
        assert checkpoints.last() == 1
        checkpoints.save(subject, optimizer, StageState(2))
        assert checkpoints.last() == 2
        assert not list(tmp_path.glob(".*"))

    def test_a_state_comes_back(self, tmp_path: Path) -> None:
        checkpoints, subject, optimizer = self.make(tmp_path)
        state = StageState(3, best_loss=0.1 + 0.2, best_step=2)
        checkpoints.save(subject, optimizer, state)
        other = learner(seed=1)
        assert not torch.equal(other.model.decoder.head.weight, subject.model.decoder.head.weight)
        assert checkpoints.load(3, other) == state
        assert all(torch.equal(tensor, other.weights()[name]) for name, tensor in subject.weights().items())

    def test_a_full_disk_leaves_the_checkpoint_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        checkpoints, subject, optimizer = self.make(tmp_path)
        checkpoints.save(subject, optimizer, StageState(1))
        original = os.fsync

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(
            UserError,
            match=r"step-000002: the checkpoint cannot be written \(No space left on device\); "
            r"the one before it is whole$",
        ):
            checkpoints.save(subject, optimizer, StageState(2))
        monkeypatch.setattr(os, "fsync", original)
        assert [path.name for path in tmp_path.iterdir()] == ["step-000001"], "what was begun makes room again"
        assert checkpoints.load(1, learner()).step == 1


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert not Interrupt().requested


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no hangup signal")
def test_a_closed_terminal_stops_and_saves_as_ctrl_c_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with interruptible() as interrupt:
            for _ in range(2):  # the shell passes it on, and the terminal sends it too
                os.kill(os.getpid(), signal.SIGHUP)
                assert interrupt.requested
            os.kill(os.getpid(), signal.SIGTERM)  # a batch system sends it to everybody, and the launcher passes it on
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no hangup signal")
def test_under_nohup_a_closed_terminal_changes_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)
