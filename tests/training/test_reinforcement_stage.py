"""Stage 5 as a stage: a stop changes nothing, what it learns is what it was paid for, and mistakes are one line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from micro import learner, mixed_data, quiet, template
from reinforcing import CONFIG, PHASE, REINFORCED, Letters, reinforcement_learner, stage
from rich.progress import Progress
from safetensors.torch import load_file, save_file

from factories import linear_head
from rxt.cli.main import main
from rxt.errors import UserError
from rxt.interop.layouts import save_pretrained
from rxt.model.reactive import ReactiveTransformer
from rxt.tasks.base import Question
from rxt.training import loop
from rxt.training.config import RunConfig
from rxt.training.interrupt import Interrupt
from rxt.training.learner import Learner
from rxt.training.loop import LoopContext, run_stage, step_generator, update
from rxt.training.optim import Optimizer, make_optimizer
from rxt.training.pipeline import train
from rxt.training.reinforcement.config import Algorithm, EpisodePhase, GroupConfig, ReinforcementConfig, ReplayConfig
from rxt.training.reinforcement.replay import Store
from rxt.training.reinforcement.rewards import Answered
from rxt.training.stages.base import EarlyStopping, Stage, StageLoss
from rxt.training.together import Together

NAME = "5-reinforcement"
EVERYTHING = replace(
    CONFIG,
    phases=(
        EpisodePhase(steps=7, turns=3, batch_size=3, trains=("decoder",), teacher_forcing=True),
        EpisodePhase(steps=8, turns=4, batch_size=3, reset_rate=0.3),
    ),
    algorithm="impo",
    batches=2,
    epochs=2,
    replay=ReplayConfig(batches=1, capacity=3, age=2),
    optim=replace(CONFIG.optim, accumulate=2),
    reward="reinforcing:reward_by_letters",
)
"""Whatever a checkpoint could forget: a critic, memories left behind, replay, several updates a collection,
micro-batches."""


def run_of(config: ReinforcementConfig) -> RunConfig:
    return REINFORCED.having(config)


def numbers(out: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in (out / NAME / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("tokens_per_second", "seconds")} for line in found
    ]


@pytest.fixture
def after_updates(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Do something in the middle of the n-th update that is made from here on."""
    original = loop.update

    def install(number: int, action: Callable[[], None]) -> None:
        made = 0

        def counted(
            stage: Stage,
            subject: Learner,
            optimizer: Optimizer,
            seed: int,
            step: int,
            together: Together[Any],
            batches: Callable[[int], list[Any]],
        ) -> list[StageLoss]:
            nonlocal made
            made += 1
            found = original(stage, subject, optimizer, seed, step, together, batches)
            if made == number:
                action()
            return found

        monkeypatch.setattr(loop, "update", counted)

    return install


def crash() -> None:
    raise RuntimeError("power cut")


def test_a_stop_anywhere_changes_nothing(tmp_path: Path, after_updates: Callable) -> None:
    run, whole, out = run_of(EVERYTHING), tmp_path / "whole", tmp_path / "run"
    train(run, whole, quiet())
    for number, action, error in (
        (4, crash, RuntimeError),
        (3, lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt),
        (6, crash, RuntimeError),
    ):
        after_updates(number, action)
        with pytest.raises(error):
            train(run, out, quiet())
    after_updates(0, crash)
    train(run, out, quiet())
    assert numbers(out) == numbers(whole)
    for name in ("weights", "optimizer"):
        found, expected = (load_file(folder / NAME / "step-000015" / f"{name}.safetensors") for folder in (out, whole))
        assert found.keys() == expected.keys()
        assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    models = [load_file(folder / "model" / "model.safetensors") for folder in (out, whole)]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[1])
    assert not any("critic" in key or "store" in key for key in models[0]), "they are for training alone"
    kept = load_file(whole / NAME / "step-000015" / "weights.safetensors")
    assert {key.split(".")[0] for key in kept if key.startswith("store/")} == {
        "store/left",
        "store/ages",
        "store/batches",
        "store/old",
    }
    assert any(key.startswith("critic.") for key in kept)


def test_the_store_comes_back() -> None:
    subject, made = reinforcement_learner(EVERYTHING), stage(EVERYTHING)
    made.collect(subject, 0, step_generator(0, "x", "y", 0, 0))
    made.collect(subject, 7, step_generator(0, "x", "y", 1, 0))
    store = subject.store
    assert (len(store.batches), len(store.old), store.ages) == (3, 3, (1, 0, 0))
    back = Store.of(store.tensors())
    assert back.ages == store.ages
    assert back.tensors().keys() == store.tensors().keys()
    assert all(torch.equal(tensor, back.tensors()[name]) for name, tensor in store.tensors().items())
    assert [len(batch) for batch in back.batches] == [2, 2, 2]
    assert torch.equal(back.batches[1][0].rollout.before, store.batches[1][0].rollout.before)


def test_replay_forgets_by_age_and_number() -> None:
    generator, left = torch.Generator().manual_seed(0), torch.zeros(2, 1, 4, 16)
    config = replace(CONFIG, batches=2, replay=ReplayConfig(batches=2, capacity=3, age=1))
    batches = [stage_batches(number) for number in range(6)]
    store = Store().collected((batches[0], batches[1]), left, config, generator)
    assert set(map(id, store.batches[2:])) <= {id(batches[0]), id(batches[1])}, "nothing is old yet"
    store = store.collected((batches[2], batches[3]), left, config, generator)
    assert store.ages == (1, 0, 0)
    assert set(map(id, store.batches[2:])) <= {id(batches[0]), id(batches[1])}
    store = store.collected((batches[4], batches[5]), left, config, generator)
    assert store.ages == (1, 0, 0), "the first ones are too old now"
    assert set(map(id, store.batches[2:])) <= {id(batches[2]), id(batches[3])}
    none = Store().collected((batches[0],), left, replace(CONFIG, replay=ReplayConfig()), generator)
    assert (len(none.batches), none.old) == (1, ())


def stage_batches(seed: int) -> tuple:  # of anything: the store only hands them on
    return (object(), seed)


def test_memories_go_on_where_they_are_not_reset() -> None:
    config = replace(CONFIG, phases=(replace(PHASE, reset_rate=0.0),), algorithm="ppo")
    subject, made = reinforcement_learner(config), stage(config)
    made.collect(subject, 0, step_generator(0, "x", "y", 0, 0))
    left = subject.store.left
    assert left is not None
    made.collect(subject, 1, step_generator(0, "x", "y", 1, 0))
    started = subject.store.batches[0][0].rollout.initial
    assert all(
        any(torch.equal(started[:, row], left[:, other]) for other in range(left.shape[1]))
        for row in range(started.shape[1])
    )
    again = stage(replace(config, phases=(PHASE,)))
    again.collect(subject, 2, step_generator(0, "x", "y", 2, 0))
    started = subject.store.batches[0][0].rollout.initial
    assert not any(
        torch.equal(started[:, row], left[:, other])
        for other in range(left.shape[1])
        for row in range(started.shape[1])
    )


@dataclass(frozen=True)
class Short:
    """The shorter the better."""

    name: str = "short"

    def applies_to(self, reference: str, question: Question | None) -> bool:
        return True

    def __call__(self, answers: Sequence[Answered]) -> list[float]:
        return [10 / (1 + len(each.answer) / 4) for each in answers]


@pytest.mark.parametrize("algorithm", ["group", "ppo", "impo"])
def test_every_algorithm_learns_what_is_rewarded(algorithm: Algorithm) -> None:
    phase = EpisodePhase(steps=30, turns=3, batch_size=12, teacher_forcing=True)
    config = replace(
        CONFIG,
        phases=(phase,),
        algorithm=algorithm,
        group=GroupConfig(answers=6),
        optim=replace(CONFIG.optim, learning_rate=6e-3),
    )
    subject, made = reinforcement_learner(config), stage(config, Short())
    optimizer = make_optimizer(subject, made.optim)
    rewards = [
        float(sum(loss.metrics["reward"] for loss in update(made, subject, optimizer, 0, step))) for step in range(30)
    ]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.5


@pytest.mark.parametrize("parts", [("decoder",), ("memory_attention",), ("encoder", "memory_attention")])
def test_only_what_the_phase_trains_moves(parts: tuple) -> None:
    config = replace(CONFIG, phases=(replace(PHASE, trains=parts),), algorithm="impo")
    subject, made = reinforcement_learner(config), stage(config)
    before = {name: tensor.clone() for name, tensor in subject.weights().items() if not name.startswith("store/")}
    optimizer = make_optimizer(subject, made.optim)
    for step in range(2):
        update(made, subject, optimizer, 0, step)
    moved = {
        name.split(".")[1 if name.startswith("model.") else 0]
        for name, tensor in before.items()
        if not torch.equal(tensor, subject.weights()[name])
    }
    assert moved == {*parts, "critic"}


def test_the_reference_stays_and_a_second_update_leaves_the_sampler() -> None:
    config = replace(CONFIG, epochs=2)
    subject, made = reinforcement_learner(config), stage(config)
    fingerprint = subject.reference.fingerprint()
    optimizer = make_optimizer(subject, made.optim)
    first, second = (update(made, subject, optimizer, 0, step)[0].metrics for step in range(2))
    assert float(first["kl"]) == pytest.approx(0, abs=1e-6)
    assert float(first["step_kl"]) == pytest.approx(0, abs=1e-6)
    assert float(second["kl"]) > 1e-6
    assert float(second["step_kl"]) > 1e-6
    assert float(first["reward"]) == float(second["reward"]), "the same answers"
    assert subject.reference.fingerprint() == fingerprint
    third = update(made, subject, optimizer, 0, 2)[0].metrics
    assert float(third["step_kl"]) == pytest.approx(0, abs=1e-6)
    assert float(third["kl"]) > 1e-6, "the reference is still the model that it began with"


def silent(model: ReactiveTransformer) -> None:
    """From now on the policy ends every answer at once."""
    decoder = model.decoder
    with torch.no_grad():
        linear_head(decoder).weight.zero_()
        linear_head(decoder).bias.zero_()
        linear_head(decoder).bias[template().tokens.eos] = 30.0


def test_a_policy_that_says_nothing_is_no_start(tmp_path: Path) -> None:
    base = learner()
    silent(base.model)
    folder = tmp_path / "silent"
    save_pretrained(base.model, folder)
    template().tokenizer.save(folder / "tokenizer.json")
    out = tmp_path / "run"
    sets = [
        f"reinforcement.phases={json.dumps([{'steps': 2, 'turns': 3, 'batch_size': 2}])}",
        "reinforcement.recall.questions=2",
        "reinforcement.recall.special=0",
    ]
    assert (
        main(
            [
                "train",
                "mrl",
                "--from",
                str(folder),
                "--out",
                str(out),
                *(word for each in sets for word in ("--set", each)),
            ]
        )
        == 2
    )
    assert not (out / "model").exists()


def test_a_policy_that_falls_silent_ends_with_its_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, made = reinforcement_learner(), stage()
    original = loop.update

    def update(
        stage: Stage,
        learner: Learner,
        optimizer: Optimizer,
        seed: int,
        step: int,
        together: Together[Any],
        batches: Callable[[int], list[Any]],
    ) -> list[StageLoss]:
        if step == 3:
            silent(subject.model)
        return original(stage, learner, optimizer, seed, step, together, batches)

    monkeypatch.setattr(loop, "update", update)
    shared = LoopContext(REINFORCED, tmp_path, quiet(), Progress(disable=True), Interrupt())
    assert run_stage(made, subject, shared) == 0
    printed = shared.console.file.getvalue()  # type: ignore[attr-defined]
    assert "100% of the answers at step 3 are nothing but [EOS]" in printed
    assert "ends with its best weights" in printed
    assert not torch.equal(subject.model.decoder.head.weight, torch.zeros_like(subject.model.decoder.head.weight))


def test_collapse_is_told_from_a_bad_start() -> None:
    subject = reinforcement_learner()
    silent(subject.model)
    with pytest.raises(UserError, match="start from a model that answers") as caught:
        stage().collect(subject, 0, torch.Generator())
    assert not isinstance(caught.value, EarlyStopping)
    with pytest.raises(EarlyStopping):
        stage().collect(subject, 3, torch.Generator())


def test_a_reward_that_fails_later_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "calls = 0",
        "def f(answers):",
        "    global calls",
        "    calls += 1",
        "    bad = float('nan') if calls > 4 else 1.0",
    )
    (tmp_path / "mine.py").write_text(
        "\n".join([*lines, "    return [bad + len(answer) % 7 for _, answer, _, _ in answers]", ""])
    )
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    with pytest.raises(UserError, match="reward mine:f: gave nan"):
        train(run_of(replace(CONFIG, reward="mine:f")), out, quiet())
    assert (out / NAME / "step-000004" / "state.json").exists()
    assert not (out / "model").exists()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("tokenizer.json", "tokenizer.json"),
        ("model.safetensors", "model.safetensors"),
        ("memory_attention", "missing"),
        ("decoder", "config.json"),
    ],
)
def test_a_start_without_a_part_is_one_line(
    lost: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "start", tmp_path / "run"
    save_pretrained(learner().model, folder)
    template().tokenizer.save(folder / "tokenizer.json")
    if lost == "memory_attention":  # its weights
        tensors = load_file(folder / "model.safetensors")
        save_file({name: tensor for name, tensor in tensors.items() if lost not in name}, folder / "model.safetensors")
    elif lost == "decoder":  # its configuration
        config = json.loads((folder / "config.json").read_text())
        del config[lost]
        (folder / "config.json").write_text(json.dumps(config))
    else:
        (folder / lost).unlink()
    assert main(["train", "mrl", "--from", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (out / NAME).exists()


def test_without_generated_conversations_it_is_evaluated_by_rewards(tmp_path: Path) -> None:
    turns = [{"query": f"I have {number} cats.", "answer": f"{number} cats!"} for number in range(4)]
    path, out = tmp_path / "chats.jsonl", tmp_path / "run"
    path.write_text(
        "".join(json.dumps({"interactions": turns[first:] + turns[:first]}) + "\n" for first in range(4)),
        encoding="utf-8",
    )
    data = mixed_data(everyday_share=0.0, files=(str(path),), validation_files=(str(path),))
    config = replace(
        CONFIG, reward="reinforcing:reward_by_letters", recall=replace(CONFIG.recall, every=2, keep="best")
    )
    train(replace(run_of(config), data=data), out, quiet())
    found = [(line["step"], line["reward"]) for line in numbers(out) if line["split"] == "validation"]
    assert [step for step, _ in found] == [0, 2, 4, 6]
    best = max(found, key=lambda each: float(str(each[1])))[0]
    kept = load_file(out / NAME / f"step-{best:06d}" / "weights.safetensors")
    model = load_file(out / "model" / "model.safetensors")
    assert all(torch.equal(kept[f"model.{name}"], tensor) for name, tensor in model.items())


def test_the_recipe_needs_a_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mrl"]) == 2
    assert "--from MODEL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": "nothing"}, "composite, recall or module:function"),
        ({"phases": ()}, "must be one at least"),
        ({"warm_up": 5}, "must leave a question in 5 turns"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"window": 0}, "window must be at least 1"),
    ],
)
def test_configurations_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(CONFIG, **change)


def test_letters_are_the_function() -> None:
    assert Letters()([Answered("q", "abc", "r", "p")]) == [(97 + 98 + 99) % 101 / 10]
