"""Where the time of a step goes: every part is there, and together they are all of it."""

from __future__ import annotations

import pytest
import torch

from factories import tiny_config
from rxt.bench.inference import Setting, bench_memorize
from rxt.bench.parts import (
    ATTENTION,
    BETWEEN,
    CLIPPING,
    EMBEDDING,
    FEED_FORWARD,
    GRADIENT,
    HEADS,
    MEMORY_ATTENTION,
    OPTIMIZER,
    Part,
    heads_of,
    marked,
    parts_of,
)
from rxt.bench.training import bench_train
from rxt.pretrained import ReactiveTransformer
from rxt.training.learner import ReactiveLearner

ONCE = Setting(repeats=1, warm_up=0)
FORWARD = {EMBEDDING, ATTENTION, FEED_FORWARD, HEADS, BETWEEN}
UPDATE = {GRADIENT, OPTIMIZER, CLIPPING}


def tiny() -> ReactiveTransformer:
    torch.manual_seed(0)
    return ReactiveTransformer(tiny_config(60, width=16, slots=4, max_length=16, hidden=24))


def check(parts: tuple[Part, ...], names: set[str]) -> None:
    assert {part.name for part in parts} == names
    assert [part.seconds for part in parts] == sorted((part.seconds for part in parts), reverse=True)
    for part in parts:
        assert part.products + part.moves + part.others + part.overhead == pytest.approx(part.seconds)
        assert part.seconds > 0


def test_steps_of_training_by_part() -> None:
    found = bench_train(tiny(), 2, 2, 8, False, ONCE)
    check(found.joint.parts, FORWARD | UPDATE)
    check(found.memory_aware.parts, FORWARD | UPDATE | {MEMORY_ATTENTION})
    by_name = {part.name: part for part in found.joint.parts}
    for name in (ATTENTION, FEED_FORWARD, HEADS, GRADIENT):
        assert by_name[name].products > 0
    assert by_name[EMBEDDING].products == by_name[OPTIMIZER].products == 0


def test_a_memory_update_by_part() -> None:
    found = bench_memorize(tiny().eval(), 1, 8, ONCE)
    check(found.parts, {EMBEDDING, ATTENTION, FEED_FORWARD, MEMORY_ATTENTION, BETWEEN})


def test_a_product_is_one_wherever_it_is() -> None:
    square = torch.randn(256, 256)
    (part,) = parts_of(lambda: [square @ square for _ in range(20)], BETWEEN)
    assert part.name == BETWEEN
    assert part.products > part.moves + part.others


def test_marks_are_taken_off_and_change_nothing() -> None:
    learner = ReactiveLearner(tiny())
    ids = torch.arange(6).unsqueeze(0)
    before = [set(vars(module)) for module in learner.modules()]
    expected = learner.model.encoder(ids)
    with marked(learner, heads_of(learner)):
        assert torch.equal(learner.model.encoder(ids), expected)
        assert {"forward"} <= set(vars(learner.model.decoder.head)) & set(vars(learner.mlm_head))
    assert [set(vars(module)) for module in learner.modules()] == before
