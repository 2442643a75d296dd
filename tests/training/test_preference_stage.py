"""Stage 5′: what moves, what stays, and what a run of it leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import (
    AWARE,
    INTERACTION,
    JOINT,
    MODEL,
    MOE_MODEL,
    OPTIM,
    PREFERENCE,
    PRETRAIN,
    RUN,
    assert_same_gradients,
    learner,
    mixed_data,
    preference_stage,
    quiet,
)
from safetensors.torch import load_file, save_file
from test_accumulation import gradient_of
from test_who_moved import copies, moved, named

from rxt.config import RxTConfig
from rxt.data.collate import Preferences
from rxt.errors import UserError
from rxt.interop.layouts import save_pretrained
from rxt.training import loop
from rxt.training.config import RunConfig
from rxt.training.config_base import RecallConfig
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.loop import update, validate
from rxt.training.optim import make_optimizer
from rxt.training.pipeline import train
from rxt.training.preference.config import PreferenceConfig
from rxt.training.preference.reference import Reference
from rxt.training.preference.scores import policy_scores, score_answers
from rxt.training.stages.base import StageLoss
from rxt.training.stages.memory_aware import Phase
from rxt.training.unroll import conversation_memories


def loss_of(config: PreferenceConfig, folder: Path, subject: ReactiveLearner, step: int = 0) -> StageLoss:
    stage = preference_stage(folder, config)
    batches = stage.batches("train", step)
    (batch,) = batches
    return stage.loss(subject, batch, batches, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("parts", "embedding"),
    [(("decoder", "memory_attention", "encoder"), True), (("decoder",), False), (("memory_attention",), False)],
)
def test_exactly_the_named_parts_move_and_never_the_reference(
    parts: tuple[str, ...], embedding: bool, tmp_path: Path
) -> None:
    optim = replace(OPTIM, learning_rate=1e-2, warmup=0, weight_decay=0.0)
    stage = preference_stage(tmp_path, replace(PREFERENCE, trains=parts, optim=optim, accepted_weight=0.5))
    subject = learner()
    before, reference = copies(subject), stage.reference.of(subject)
    fingerprint, optimizer = reference.fingerprint(), make_optimizer(subject, optim)
    for step in range(3):
        update(stage, subject, optimizer, RUN.seed, step)
    assert moved(before, subject) == named(subject, parts, embedding, False)
    assert stage.reference.of(subject) is reference
    assert reference.fingerprint() == fingerprint
    assert all(torch.equal(before[f"model.{name}"], parameter) for name, parameter in reference.named_parameters())
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_the_stage_begins_where_the_reference_is_and_leaves_it(tmp_path: Path) -> None:
    stage, subject = preference_stage(tmp_path, replace(PREFERENCE, steps=30)), learner()
    before = validate(stage, subject, RUN.seed, 2)
    assert before["margin"] == before["accuracy"] == before["accepted_change"] == before["rejected_change"] == 0
    assert before["loss"] == pytest.approx(torch.log(torch.tensor(2.0)).item())
    optimizer = make_optimizer(subject, stage.optim)
    for step in range(30):
        update(stage, subject, optimizer, RUN.seed, step)
    after = validate(stage, subject, RUN.seed, 2)
    assert after["loss"] < before["loss"]
    assert after["margin"] == pytest.approx(after["accepted_change"] - after["rejected_change"], rel=1e-4)
    assert after["accuracy"] > 0.5
    assert after["memory_change"] > 0


def test_every_term_has_its_weight(tmp_path: Path) -> None:
    subject = learner()
    stage = preference_stage(tmp_path)
    stage.reference.of(subject)  # from here on the policy is another model
    with torch.no_grad():
        for parameter in subject.model.decoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    bare = loss_of(replace(PREFERENCE, anchor_weight=0.0), tmp_path, subject)
    more = loss_of(replace(PREFERENCE, anchor_weight=0.0, accepted_weight=0.5), tmp_path, subject)
    torch.testing.assert_close(more.loss, bare.loss - 0.5 * bare.metrics["accepted"])
    assert torch.equal(loss_of(replace(PREFERENCE, anchor_weight=9.0), tmp_path, subject).loss, bare.loss), (
        "there are no neutral answers"
    )
    small = loss_of(replace(PREFERENCE, beta=1e-6), tmp_path, subject).loss
    assert small.item() == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-5)
    smooth = loss_of(replace(PREFERENCE, label_smoothing=0.25), tmp_path, subject).loss
    torch.testing.assert_close(smooth, bare.loss + 0.25 * PREFERENCE.beta * bare.metrics["margin"])


def neutral_too(stage_batches: list[Preferences]) -> list[Preferences]:
    """The same, with the first rejected answers as neutral ones besides: generated conversations have none."""
    found = []
    for batch in stage_batches:
        rows = torch.cat([torch.arange(len(batch.answers)), torch.arange(batch.pairs, batch.pairs + 2)])
        found.append(Preferences(batch.accepted, batch.answers[rows], batch.turn_row[rows], batch.pairs))
    return found


def test_neutral_answers_are_held_where_they_are(tmp_path: Path) -> None:
    subject, stage = learner(), preference_stage(tmp_path, replace(PREFERENCE, anchor_weight=0.3))
    batches = neutral_too(stage.batches("train", 0))
    stage.reference.of(subject)
    with torch.no_grad():
        for parameter in subject.model.decoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    with_anchor, without = (
        replace(stage, config=replace(stage.config, anchor_weight=weight)).loss(
            subject, batches[0], batches, torch.Generator().manual_seed(0)
        )
        for weight in (0.3, 0.0)
    )
    model, batch = subject.model, batches[0]
    slots = fresh_slots(subject, batch.accepted.size, torch.Generator().manual_seed(0))
    policy = policy_scores(model, batch, conversation_memories(model, batch.accepted, slots))
    reference = score_answers(stage.reference.of(subject).decoder, batch.answers, policy.before).log_probs
    expected = 0.3 * (policy.answers.log_probs - reference)[-2:].abs().mean()
    assert expected > 1e-4
    torch.testing.assert_close(with_anchor.loss - without.loss, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("model", [MODEL, MOE_MODEL], ids=["dense", "moe"])
def test_the_gradient_is_that_of_the_whole_batch(
    model: RxTConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.data.collate.PART_COST", 10**9)
    subject, reference = (learner(replace(model, memory_seed=1), seed, double=True) for seed in (0, 1))
    monkeypatch.setattr(Reference, "of", lambda *_: reference.model)
    whole = None
    for parts in (1, 2, 3):
        config = replace(PREFERENCE, batch_size=5, accepted_weight=0.5, optim=replace(OPTIM, accumulate=parts))
        stage = preference_stage(tmp_path, config)
        assert len(stage.batches("train", 2)) == parts
        loss, gradients, metrics = gradient_of(stage, subject, 2)  # type: ignore[arg-type]
        summed = {name: sum(each[name] for each in metrics) for name in metrics[0]}
        if whole is None:
            whole = loss, gradients, summed
            assert abs(summed["margin"]) > 1e-3
        assert loss == pytest.approx(whole[0], rel=1e-9)
        assert summed == pytest.approx(whole[2], rel=1e-5)
        assert_same_gradients(gradients, whole[1], atol=1e-9)


class TestReference:
    def test_it_is_what_the_stage_began_with(self, tmp_path: Path) -> None:
        subject = learner()
        first = Reference(tmp_path / "reference").of(subject)
        with torch.no_grad():
            subject.model.decoder.head.weight.add_(1)
        again = Reference(tmp_path / "reference").of(subject)
        assert again.fingerprint() == first.fingerprint() != subject.model.eval().fingerprint()
        assert not any(parameter.requires_grad for parameter in again.parameters())
        assert [path.name for path in tmp_path.iterdir()] == ["reference"]

    def test_one_that_was_changed_or_is_gone_is_refused(self, tmp_path: Path) -> None:
        subject = learner()
        Reference(tmp_path / "reference").of(subject)
        with torch.no_grad():
            subject.model.decoder.head.weight.add_(1)
        save_pretrained(subject.model, tmp_path / "reference")
        with pytest.raises(
            UserError, match=r"reference: the reference was changed since the stage began .* another --out$"
        ):
            Reference(tmp_path / "reference").of(subject)
        (tmp_path / "step-000001").mkdir()
        with pytest.raises(
            UserError, match=r"gone: the reference that this stage began with is gone; start again with another --out$"
        ):
            Reference(tmp_path / "gone").of(subject)


LONGER = replace(MODEL, decoder=replace(MODEL.decoder, max_length=160), encoder=replace(MODEL.encoder, max_length=160))
RECALL = RecallConfig(every=2, distances=(1, 5), questions=2, special=1, max_score_drop=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to start from."""
    short = [replace(stage, steps=1) for stage in (JOINT, INTERACTION, PRETRAIN)]
    phases = (Phase(steps=2, turns=2, batch_size=2),)
    run = replace(RUN, model=LONGER).having(*short, replace(AWARE, phases=phases))
    return train(run, tmp_path_factory.mktemp("first") / "run", quiet())


def preferring(model: Path, **changes: object) -> RunConfig:
    """Stage 5′ alone, from a model."""
    return replace(
        RUN,
        start=str(model),
        model=RxTConfig.from_dict(json.loads((model / "config.json").read_text()), "test"),
        stages=(replace(PREFERENCE, recall=RECALL, **changes),),  # type: ignore[arg-type]
        checkpoint_every=3,
    )


def metrics(out: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "5-preference" / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")} for line in lines
    ]


def test_a_run_of_it_alone_resumed_is_uninterrupted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = preferring(model)
    whole = train(run, tmp_path / "whole", quiet())
    lines = metrics(tmp_path / "whole")
    assert [line["step"] for line in lines if line["split"] == "validation"] == [0, 2, 4, 6]
    assert {
        "margin",
        "accuracy",
        "accepted_change",
        "rejected_change",
        "memory_change",
        "recall_1_4",
        "recall_5_16",
        "recall",
    } <= lines[0].keys()
    assert json.loads((whole / "config.json").read_text())["trained_turns"] == 4
    kept = json.loads(
        sorted((tmp_path / "whole" / "5-preference").glob("step-*"))[-1].joinpath("state.json").read_text()
    )["best_step"]
    best = load_file(tmp_path / "whole" / "5-preference" / f"step-{kept:06d}" / "weights.safetensors")
    final = load_file(whole / "model.safetensors")
    assert all(torch.equal(tensor, best[f"model.{name}"]) for name, tensor in final.items() if f"model.{name}" in best)
    assert f"| 5-preference | {kept} | loss " in (whole / "README.md").read_text()
    reference = load_file(tmp_path / "whole" / "5-preference" / "reference" / "model.safetensors")
    start = load_file(model / "model.safetensors")
    assert reference.keys() == start.keys()
    assert all(torch.equal(reference[name], start[name]) for name in start)

    original: Callable[..., list[StageLoss]] = loop.update
    left = 0

    def cut(*arguments: object) -> list[StageLoss]:
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("power cut")
        return original(*arguments)

    monkeypatch.setattr(loop, "update", cut)
    for left in (1, 5):  # noqa: B007 - the loop's variable is what cut() counts
        with pytest.raises(RuntimeError, match="power cut"):
            train(run, tmp_path / "cut", quiet())
    again = train(run, tmp_path / "cut", quiet())
    found = load_file(again / "model.safetensors")
    assert all(torch.equal(found[name], final[name]) for name in final)
    assert metrics(tmp_path / "cut") == lines
    for name in ("weights", "optimizer"):
        a, b = (
            load_file(tmp_path / out / "5-preference" / "step-000006" / f"{name}.safetensors")
            for out in ("whole", "cut")
        )
        assert all(torch.equal(a[each], b[each]) for each in a)


@pytest.mark.parametrize("own", [True, False], ids=["own data alone", "not asked for"])
def test_without_an_evaluator_it_ends_with_its_last_weights(own: bool, model: Path, tmp_path: Path) -> None:
    run = preferring(model, steps=2)
    if own:
        pair = {"query": "who?", "accepted": {"answer": "Ann"}, "rejected": {"answer": "Bob"}}
        pairs = tmp_path / "pairs.jsonl"
        pairs.write_text((json.dumps({"interactions": [{"query": "Ann!", "answer": "Hi."}, pair]}) + "\n") * 3)
        run = replace(run, data=mixed_data(everyday_share=0.0, files=(str(pairs),)))
    else:
        run = run.having(replace(PREFERENCE, steps=2, recall=None))
    result = load_file(train(run, tmp_path / "run", quiet()) / "model.safetensors")
    last = load_file(tmp_path / "run" / "5-preference" / "step-000002" / "weights.safetensors")
    assert all(torch.equal(result[name], last[f"model.{name}"]) for name in result if f"model.{name}" in last)
    assert not any("recall" in name for line in metrics(tmp_path / "run") for name in line)


def test_a_checkpoint_without_a_part_is_one_line(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    tensors = {
        name: tensor
        for name, tensor in load_file(model / "model.safetensors").items()
        if not name.startswith("memory_attention")
    }
    save_file(tensors, broken / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: tensor \S+ is missing"):
        train(preferring(broken), tmp_path / "run", quiet())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turns": 1}, r"preference\.turns must be at least 2"),
        ({"beta": 0.0}, r"preference\.beta must be positive"),
        ({"label_smoothing": 0.5}, r"preference\.label_smoothing must lie in \[0, 0\.5\)"),
        ({"anchor_weight": -1.0}, r"preference\.anchor_weight cannot be negative"),
        ({"accepted_weight": -1.0}, r"preference\.accepted_weight cannot be negative"),
        ({"neutral_rate": 1.5}, r"preference\.neutral_rate must lie in \[0, 1\]"),
        ({"own_temperature": -0.1}, r"preference\.own_temperature cannot be negative"),
        ({"window": 0}, r"preference\.window must be at least 1"),
        ({"trains": ()}, r"preference\.trains names no part of the model"),
        ({"steps": -1}, r"steps cannot be negative"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(PREFERENCE, **changes)  # type: ignore[arg-type]


def test_it_is_not_for_baselines() -> None:
    with pytest.raises(UserError, match="preference is for Reactive Transformers, not for a baseline"):
        replace(RUN, stages=(*RUN.stages, PREFERENCE), baseline="history")


def test_bad_data_leaves_nothing(model: Path, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"interactions": [{"query": "a", "answer": "b"}]}\n' * 2)
    data = mixed_data(everyday_share=0.5, files=(str(chats),))
    with pytest.raises(
        UserError, match=r"chats\.jsonl: holds conversations without rejected answers; preference training needs"
    ):
        train(replace(preferring(model), data=data), tmp_path / "run", quiet())
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
