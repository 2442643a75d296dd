"""Each way to hold a model computes the same updates. Here in a group of one process, which needs no others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import reinforcing
import torch
import torch._dynamo.utils as dynamo
import torch.distributed as dist
from grown import grown
from micro import AWARE, MOE_MODEL, OPTIM, PREFERENCE, RUN, learner, preference_stage, stages, template, tokenizer
from torch import Tensor

import rxt.training.loop as loop
import rxt.training.together as together
from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.everyday.task import Everyday
from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.compiled import as_written, compile_layers
from rxt.training.config_base import OptimConfig, RecallConfig
from rxt.training.corpus import Corpus
from rxt.training.data_config import DataConfig, with_files
from rxt.training.keeping import KeepConfig, OwnWords
from rxt.training.learner import GrownLearner, ReactiveLearner
from rxt.training.loop import update, validate
from rxt.training.optim import make_optimizer, optimizer_tensors
from rxt.training.process_group import ProcessGroup
from rxt.training.recall import RecallProbe
from rxt.training.recipes_on_base import MEMORY
from rxt.training.recipes_on_base import OPTIM as BASE_OPTIM
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.shards import sizes_of
from rxt.training.stages.adaptation import AdaptationConfig, AdaptationStage
from rxt.training.stages.memory_aware import MemoryAwareStage, Phase
from rxt.training.together import Replicated, Sharded, Together, whole_tensor

ALONE = ProcessGroup()
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all of them: PyTorch keeps what it has found out about a mesh of devices, and with it the mesh's group
    and the group's threads, until the process ends."""
    hook = sys.excepthook  # a group puts another one before it
    place = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
    sys.excepthook = hook


def held(way: str, subject: ReactiveLearner) -> Together[ReactiveLearner]:
    if way == "shard":
        return Sharded(subject, ALONE, CPU)
    return Replicated(subject, ALONE) if way == "replicate" else Together(subject)


def trained(
    way: str,
    index: int,
    steps: int,
    checkpointing: bool = False,
    optim: OptimConfig = OPTIM,
    compiler: str | None = None,
) -> tuple[Together[ReactiveLearner], list[float]]:
    """A learner after some updates of a stage, and their losses."""
    stage = stages(RUN.having(replace(AWARE, checkpointing=checkpointing)))[index]
    subject = held(way, learner())
    if compiler is not None:
        compile_layers(subject.learner, compiler)
    optimizer = make_optimizer(subject.learner, optim)
    losses = [
        float(sum(loss.loss for loss in update(stage, subject.learner, optimizer, 0, step, subject)))
        for step in range(steps)
    ]
    return subject, losses


def validated(subject: Together[ReactiveLearner], index: int) -> dict[str, float]:
    with subject.whole():
        return validate(stages()[index], subject.learner, seed=0, batches=1)


def whole_weights(subject: Together[ReactiveLearner]) -> dict[str, Tensor]:
    return {name: whole_tensor(tensor) for name, tensor in subject.learner.weights().items()}


@pytest.mark.parametrize("way", ["replicate", "shard"])
@pytest.mark.parametrize("index", range(4))
def test_every_stage_learns_the_same(way: str, index: int) -> None:
    """Stage 4 goes through three phases, each of which trains other parts."""
    (expected, losses), (found, others) = (trained(each, index, steps=6) for each in ("alone", way))
    assert others == pytest.approx(losses, rel=1e-5)
    assert validated(found, index) == pytest.approx(validated(expected, index), rel=1e-4)
    weights = whole_weights(found)
    for name, tensor in whole_weights(expected).items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("way", ["alone", "replicate", "shard"])
def test_conversations_without_a_second_turn_leave_a_memory_that_learns_alone_as_it_is(
    way: str, tmp_path: Path
) -> None:
    """Nothing of it was needed to answer them. Beside others they take nothing away."""
    files = [tmp_path / name for name in ("single.jsonl", "longer.jsonl")]
    for file, turns in zip(files, (1, 2), strict=True):
        talk = {"interactions": [{"query": f"hello {turn}", "answer": "hi"} for turn in range(turns)]}
        file.write_text(f"{json.dumps(talk)}\n" * 8)
    phase = Phase(steps=2, turns=2, batch_size=4, trains=("memory_attention",))
    aware = replace(AWARE, phases=(phase,), optim=replace(OPTIM, accumulate=2, weight_decay=0.0))
    moved = []
    for sources in ((str(files[0]),), (str(files[1]),)):
        data = with_files(DataConfig(), sources, (), 0.0)
        subject = held(way, learner())
        before = {name: tensor.clone() for name, tensor in whole_weights(subject).items()}
        corpus = Corpus.load(data, 0)
        stage = MemoryAwareStage(corpus, template(), aware)
        losses = update(stage, subject.learner, make_optimizer(subject.learner, aware.optim), 0, 0, subject)
        assert all(loss.loss > 0 for loss in losses)
        after = whole_weights(subject)
        moved.append(any(not torch.equal(after[name], tensor) for name, tensor in before.items()))
    assert moved == [False, True]


def assert_learns_the_same(stage: Any, plain: Callable[[], Any], steps: int) -> None:
    """In parts as whole: losses, weights, validation, and what a checkpoint holds besides."""
    found = list[tuple[list[float], dict[str, float], dict[str, Tensor]]]()
    for way in ("alone", "shard"):
        learner_now = stage.learner_for(plain())
        subject = Sharded(learner_now, ALONE, CPU, stage.beside) if way == "shard" else Together(learner_now)
        optimizer = make_optimizer(subject.learner, stage.optim)
        losses = [
            float(sum(loss.loss for loss in update(stage, subject.learner, optimizer, 0, step, subject)))
            for step in range(steps)
        ]
        with subject.whole():
            validation = validate(stage, subject.learner, seed=0, batches=1)
        subject.give_back(learner_now)
        found.append((losses, validation, learner_now.weights() | learner_now.carried()))
    (losses, validation, weights), (others, validation_too, weights_too) = found
    assert others == pytest.approx(losses, rel=1e-4)
    assert validation_too == pytest.approx(validation, rel=1e-3, abs=1e-6)
    assert weights.keys() == weights_too.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(
            weights_too[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_policy_and_its_reference_in_parts_play_and_learn_the_same() -> None:
    config = replace(reinforcing.CONFIG, algorithm="impo", epochs=2)
    assert_learns_the_same(reinforcing.stage(config), lambda: learner(seed=3), steps=4)


def test_preferences_are_learned_the_same_beside_a_reference_in_parts(tmp_path: Path) -> None:
    """The policy's own answers are among them."""
    config = replace(PREFERENCE, own_temperature=0.0, accepted_weight=0.5, anchor_weight=0.3)
    assert_learns_the_same(preference_stage(tmp_path, config), lambda: learner(seed=3), steps=4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_memory_is_learned_the_same_on_a_base_in_parts(
    precision: Literal["float32", "bfloat16"], tmp_path: Path
) -> None:
    """A base may be rounded, and what it makes of texts kept."""
    keep = KeepConfig(interactions=3, batch_size=2)
    phases = (Phase(2, 2, 4, MEMORY, echo=True), Phase(4, 3, 4, ("memory_attention",)))
    config = AdaptationConfig(phases=phases, optim=BASE_OPTIM, precision=precision, keep=keep, cache_gigabytes=1e-3)
    corpus = Corpus.load(DataConfig(), 0)
    own = OwnWords(tmp_path / "own.json", keep, 0)
    stage = AdaptationStage(corpus, template(), config, folder=tmp_path, own=own)
    assert_learns_the_same(stage, lambda: GrownLearner(grown(tokenizer().vocab_size)), steps=5)


@pytest.mark.parametrize("way", ["replicate", "shard"])
def test_activations_that_are_computed_again_give_the_same(way: str) -> None:
    _, losses = trained("alone", 3, steps=6)
    _, others = trained(way, 3, steps=6, checkpointing=True)
    assert others == pytest.approx(losses, rel=1e-5)


@pytest.fixture
def _forgotten() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.torch.jit.script_method")  # of PyTorch's own
def test_layers_are_compiled_around_what_experts_multiply() -> None:
    """Every expert gets another number of rows each time."""
    losses = list[list[float]]()
    for compiled in (False, True):
        subject = learner(MOE_MODEL)
        if compiled:
            dynamo.counters.clear()
            compile_layers(subject, "aot_eager")
        optimizer, stage = make_optimizer(subject, OPTIM), stages()[0]
        losses.append([float(sum(loss.loss for loss in update(stage, subject, optimizer, 0, step))) for step in (0, 1)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert dynamo.counters["stats"]["unique_graphs"] >= 2
    assert all("torch.compiler.disable" in reason for reason in dynamo.counters["graph_break"])


@pytest.mark.slow
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.torch.jit.script_method")  # of PyTorch's own
@pytest.mark.parametrize(
    ("way", "compiler", "index", "steps"),
    [("alone", "inductor", 0, 3), ("replicate", "aot_eager", 3, 8), ("shard", "aot_eager", 3, 8)],
)
def test_compiled_layers_learn_the_same(way: str, compiler: str, index: int, steps: int) -> None:
    """Conversations of stage 4 have uneven lengths, and each of its phases trains other parts."""
    if compiler == "inductor" and shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("needs a C++ compiler")
    expected, losses = trained("alone", index, steps)
    dynamo.counters.clear()
    found, others = trained(way, index, steps, compiler=compiler)
    assert dynamo.counters["stats"]["unique_graphs"] >= 2
    assert not dynamo.counters["graph_break"]
    assert others == pytest.approx(losses, rel=1e-5)
    weights = whole_weights(found)
    for name, tensor in whole_weights(expected).items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)
    made = dynamo.counters["stats"]["unique_graphs"]
    with as_written():
        validated(found, index)
    assert dynamo.counters["stats"]["unique_graphs"] == made


def test_muon_moves_parts_as_it_moves_the_whole() -> None:
    muon = replace(OPTIM, kind="muon")
    (expected, _), (found, _) = (trained(way, 0, steps=3, optim=muon) for way in ("alone", "shard"))
    weights = whole_weights(found)
    for name, tensor in whole_weights(expected).items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("way", ["alone", "replicate", "shard"])
def test_only_what_was_used_has_a_gradient(way: str) -> None:
    """A gradient of zeros is another thing: momentum would move the parameter."""
    subject = held(way, learner())
    head = subject.learner.mlm_head
    used = {name for name, _ in head.named_parameters(prefix="mlm_head")}
    for _ in range(2):
        for parameter in subject.learner.parameters():
            parameter.grad = None
        subject.backward([lambda: torch.stack([each.sum() for each in head.parameters()]).sum()] * 2, passes=2)
        found = {name: each.grad for name, each in subject.learner.unique_parameters() if each.grad is not None}
        assert found.keys() == used
        assert all(torch.equal(whole_tensor(each), torch.full(each.shape, 2.0)) for each in found.values())


@pytest.mark.parametrize("way", ["replicate", "shard"])
def test_an_empty_pass_adds_nothing(way: str) -> None:
    subject = held(way, learner())
    subject.backward([], passes=1)
    found = [whole_tensor(each.grad) for each in subject.learner.parameters() if each.grad is not None]
    assert not any(gradient.any() for gradient in found)


def test_parts_are_computed_in_bfloat16_and_kept_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    _, losses = trained("alone", 3, steps=6)
    for module in (loop, together):
        monkeypatch.setattr(module, "products_of", lambda device: "bfloat16")
    subject, others = trained("shard", 3, steps=6)
    assert others != pytest.approx(losses, rel=1e-5)
    assert others == pytest.approx(losses, rel=2e-2)
    assert {each.dtype for each in subject.learner.parameters()} == {torch.float32}
    probe = RecallProbe(RecallConfig(distances=(1,), questions=2, special=0), template(), Everyday(EverydayConfig()), 0)
    with subject.whole():
        assert {each.dtype for each in subject.learner.parameters()} == {torch.bfloat16}
        assert probe.measure(subject.learner).keys() == {"recall", "recall_1_4"}


def test_a_sharded_learner_gives_back_what_it_has_learned() -> None:
    plain = learner()
    before = {name: tensor.clone() for name, tensor in plain.weights().items()}
    subject = Sharded(plain, ALONE, CPU)
    with torch.no_grad():
        for parameter in subject.learner.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.weights().items())
    subject.give_back(plain)
    added = dict(plain.unique_parameters())
    assert all(torch.equal(tensor, before[name] + (name in added)) for name, tensor in plain.weights().items())


@pytest.mark.parametrize(("writes", "reads"), [("shard", "alone"), ("alone", "shard"), ("shard", "shard")])
def test_each_reads_what_another_has_written(writes: str, reads: str, tmp_path: Path) -> None:
    """Only what has learned has moments, before and after."""
    written, _ = trained("alone", 2, steps=0)
    subject = held(writes, written.learner)
    optimizer, stage = make_optimizer(subject.learner, OPTIM), stages()[2]
    update(stage, subject.learner, optimizer, 0, 0, subject)
    Checkpoints(tmp_path, 2, ALONE, writes == "shard").save(subject.learner, optimizer, StageState(1, best_loss=2.0))
    (folder,) = tmp_path.iterdir()
    assert (folder / "parts").is_dir() == (writes == "shard")

    other = held(reads, learner(seed=7))
    optimizer_there = make_optimizer(other.learner, OPTIM)
    checkpoints = Checkpoints(tmp_path, 2, ALONE, reads == "shard")
    assert checkpoints.load(1, other.learner, optimizer_there) == StageState(1, best_loss=2.0)
    expected = whole_weights(subject) | _whole(optimizer_tensors(subject.learner, optimizer))
    found = whole_weights(other) | _whole(optimizer_tensors(other.learner, optimizer_there))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    losses = [
        float(update(stage, each.learner, moments, 0, 1, each)[0].loss)
        for each, moments in ((subject, optimizer), (other, optimizer_there))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(("writes", "reads"), [("shard", "alone"), ("alone", "shard"), ("shard", "shard")])
def test_what_is_kept_beside_the_weights_comes_back(writes: str, reads: str, tmp_path: Path) -> None:
    """Stage 5 goes on with the very answers that it had collected."""

    def policy(way: str, seed: int) -> Together[ReinforcementLearner]:
        plain = ReinforcementLearner(learner(seed=seed), with_critic=False)
        return Sharded(plain, ALONE, CPU) if way == "shard" else Together(plain)

    stage, subject, other = reinforcing.stage(), policy(writes, 3), policy(reads, 4)
    update(stage, subject.learner, make_optimizer(subject.learner, OPTIM), 0, 0, subject)
    optimizer = make_optimizer(subject.learner, OPTIM)
    Checkpoints(tmp_path, 2, ALONE, writes == "shard").save(subject.learner, optimizer, StageState(1))
    Checkpoints(tmp_path, 2, ALONE, reads == "shard").load(1, other.learner)
    found, expected = (each.learner.carried() for each in (other, subject))
    assert len(expected) > 10
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_parts_become_one_file_too(tmp_path: Path) -> None:
    plain = learner()
    subject = Sharded(plain, ALONE, CPU)
    checkpoints = Checkpoints(tmp_path, 2, ALONE, sharded=True)
    checkpoints.save(subject.learner, make_optimizer(subject.learner, OPTIM), StageState(3))
    assert set(sizes_of(tmp_path / "step-000003" / "parts")) == plain.weights().keys()
    checkpoints.convert(3, plain)
    (tmp_path / "step-000003" / "weights.safetensors").rename(tmp_path / "weights.safetensors")
    assert set(sizes_of(tmp_path)) == plain.weights().keys()


def test_parts_that_cannot_be_written_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Sharded(learner(), ALONE, CPU)
    optimizer = make_optimizer(subject.learner, OPTIM)
    checkpoints = Checkpoints(tmp_path, 2, ALONE, sharded=True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        checkpoints.save(subject.learner, optimizer, StageState(1))
    assert not list(tmp_path.iterdir())


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole_tensor(tensor) for name, tensor in tensors.items()}
