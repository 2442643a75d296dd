"""What a plan says that updates keep and compute, beside what autograd keeps of real ones and PyTorch counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from micro import (
    AWARE,
    INTERACTION,
    JOINT,
    MODEL,
    MOE_MODEL,
    PREFERENCE,
    PRETRAIN,
    RUN,
    learner,
    preference_stage,
    stages,
    tokenizer,
)
from planned import TOKENS, counted
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from rxt.config import MoEConfig, RxTConfig
from rxt.data.collate import Conversations, Preferences, Rows
from rxt.generation import scoring
from rxt.generation.cross_entropy import cross_entropy
from rxt.training.plan.counting import ATTENTION_FLOPS, FLOAT32
from rxt.training.plan.updates import Updates
from rxt.training.stages.joint import joint_loss
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase, memory_aware_loss
from rxt.training.stages.retrieval import RetrievalConfig
from rxt.training.transcript import transcript_scores

MANY = 3
# --- Activations and operations: what autograd keeps of real updates, and what PyTorch counts in them. ---


def rows(count: int) -> Rows:
    """Rows as long as the model takes, of which all are targets."""
    torch.manual_seed(1)
    ids = torch.randint(9, tokenizer().vocab_size, (count, TOKENS))
    return Rows(ids, torch.ones_like(ids, dtype=torch.bool), torch.ones_like(ids, dtype=torch.bool))


def conversations(turns: int) -> Conversations:
    return Conversations(rows(turns * MANY), (MANY,) * turns)


def measured(subject: nn.Module, loss: Callable[[], Tensor]) -> tuple[int, int]:
    """Bytes that autograd keeps of a real loss, each storage once and without parameters; operations of both passes."""
    known = {parameter.untyped_storage().data_ptr() for parameter in subject.parameters()}
    kept = dict[int, Tensor]()

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOPS)
    counter.mod_tracker = NoModules()  # type: ignore[assignment]
    with counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            found = loss()
        found.backward()
    size = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in known)
    return size, counter.get_total_flops()


class NoModules(nullcontext[None]):
    """In the place of what tells the modules apart, which cannot follow keys and values that are used without a
    gradient."""

    parents: ClassVar[set[str]] = {"Global"}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def close(planned: float, found: float, within: float) -> bool:
    return math.isclose(planned, found, rel_tol=within)


@pytest.mark.parametrize("config", [JOINT, INTERACTION], ids=["joint", "interaction"])
def test_a_language_step_keeps_and_computes_what_is_planned(config: Any) -> None:
    ((planned,), _), subject = counted(config), learner()
    subject.learn_only(("decoder", "encoder"), mlm_head=True)
    batch = rows(MANY)
    kept, flops = measured(subject, lambda: joint_loss(subject, batch, [batch], config, generator()).loss)
    assert close(MANY * planned.cost.kept(FLOAT32), kept, 0.05)
    assert close(MANY * planned.cost.flops, flops, 0.02)


def test_a_step_of_memory_pretraining_keeps_and_computes_what_is_planned() -> None:
    ((planned,), _), subject = counted(PRETRAIN), learner()
    (stage,) = stages(replace(RUN, stages=(PRETRAIN,)))
    stage.unfreeze(subject, 0)
    batch = conversations(PRETRAIN.turns)
    kept, flops = measured(subject, lambda: stage.loss(subject, batch, [batch], generator()).loss)
    assert close(MANY * planned.cost.kept(FLOAT32), kept, 0.05)
    assert close(MANY * planned.cost.flops, flops, 0.02)


def test_a_step_of_retrieval_keeps_and_computes_no_more_than_is_planned() -> None:
    config = RetrievalConfig(phases=(Phase(1, 4, MANY, ("decoder", "encoder")),))
    ((planned,), _), subject = counted(config), learner()
    subject.learn_only(("decoder", "encoder"))
    batch = conversations(4)
    slots = subject.model.init_memory(MANY).slots
    kept, flops = measured(subject, lambda: transcript_scores(subject.model, batch, slots).nll.mean())
    assert 0.6 < kept / (MANY * planned.cost.kept(FLOAT32)) < 1.05, (
        "what the last turn says is encoded in the plan alone"
    )
    assert 0.6 < flops / (MANY * planned.cost.flops) < 1.05


READS_MEMORY = replace(MODEL, encoder=replace(MODEL.encoder, cross_attention=MODEL.encoder.self_attention))
UNALIGNED = replace(MODEL, decoder=replace(MODEL.decoder, feed_forward=MoEConfig(7, experts=4, top_k=2)))
"""Experts whose products a loop makes one by one, which PyTorch counts."""


@cache
def turns_of(config: MemoryAwareConfig, model: RxTConfig) -> list[Updates]:
    return counted(config, model)[0]


@pytest.mark.parametrize("model", [MODEL, READS_MEMORY, UNALIGNED], ids=["dense", "reads-memory", "experts"])
@pytest.mark.parametrize(("window", "checkpointing"), [(None, False), (1, False), (None, True)])
def test_a_conversation_keeps_and_computes_what_is_planned(
    model: RxTConfig, window: int | None, checkpointing: bool
) -> None:
    config = replace(AWARE, window=window, checkpointing=checkpointing)
    for planned, phase in zip(turns_of(config, model), config.phases, strict=True):
        subject = learner(model)
        subject.learn_only(phase.trains)
        batch = conversations(phase.turns)
        kept, flops = measured(
            subject,
            lambda: memory_aware_loss(subject, batch, [batch], config, generator()).loss,  # noqa: B023
        )
        assert close(MANY * planned.cost.flops, flops, 0.03), (planned.name, planned.cost.flops * MANY / flops)
        if not checkpointing:  # what is kept of one turn stands in no list that can be looked at
            ratio = MANY * planned.cost.kept(FLOAT32) / kept
            assert close(ratio, 1, 0.1), (planned.name, ratio)


class Live(TorchDispatchMode):
    """The most bytes that tensors made inside have taken at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most, self._made = 0, dict[StorageWeakRef, int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._made[StorageWeakRef(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        self._made = {reference: size for reference, size in self._made.items() if not reference.expired()}
        self.most = max(self.most, sum(self._made.values()))
        return found


def on_gpu(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    return cross_entropy(F.linear(states, weight, bias), targets)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_most_that_is_held_at_once_is_what_is_planned(checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the losses of a GPU, for which plans are made: a CPU makes no gradient of the logits."""
    monkeypatch.setattr(scoring, "linear_cross_entropy", on_gpu)
    config = replace(AWARE, checkpointing=checkpointing)
    *_, planned = turns_of(config, MODEL)
    assert planned.turns is not None
    subject, batch = learner(), conversations(planned.turns)
    with Live() as live:
        memory_aware_loss(subject, batch, [batch], config, generator()).loss.backward()
    gradients = sum(parameter.grad.nbytes for parameter in subject.parameters() if parameter.grad is not None)
    most = MANY * planned.cost.most(FLOAT32)
    ratio = most / (live.most - gradients)
    assert close(ratio, 1, 0.25), (ratio, most, live.most, gradients)


def test_a_preference_step_keeps_and_computes_what_is_planned(tmp_path: Path) -> None:
    ((planned,), _), subject, stage = counted(PREFERENCE), learner(), preference_stage(tmp_path)
    subject.learn_only(PREFERENCE.trains)
    turns = PREFERENCE.turns
    pairs = torch.arange(turns * MANY)
    batch = Preferences(conversations(turns), rows(2 * turns * MANY), torch.cat([pairs, pairs]), turns * MANY)
    kept, flops = measured(subject, lambda: stage.loss(subject, batch, [batch], generator()).loss)
    assert close(MANY * planned.cost.kept(FLOAT32), kept, 0.1)
    assert close(MANY * planned.cost.flops, flops, 0.03)


def test_experts_keep_what_one_product_of_all_rows_does() -> None:
    """With the kernel that trains, whose operations PyTorch does not count."""
    subject = learner(MOE_MODEL)
    *_, planned = turns_of(AWARE, MOE_MODEL)
    batch = conversations(AWARE.phases[-1].turns)
    kept, _ = measured(subject, lambda: memory_aware_loss(subject, batch, [batch], AWARE, generator()).loss)
    assert close(MANY * planned.cost.kept(FLOAT32), kept, 0.1)
