"""The recipe that gives a model which remembers a pool of fragments."""

from __future__ import annotations

from dataclasses import replace

from rxt.config import PoolConfig
from rxt.training.config import RunConfig
from rxt.training.config_base import SLOW_GATES, OptimConfig, RateFactor
from rxt.training.stages.fragments import FragmentsConfig, FragmentsPhase

ROUTER_FIRST = (RateFactor("router", 10.0), *SLOW_GATES)
"""A new router learns at ten times the rate of a model that has been trained. Gates learn slowly: with the others' rate
what was told long ago is soon lost."""


def with_fragments(base: RunConfig) -> RunConfig:
    """Further training of a base's model, in place of its stages: first the router alone, then all of it, from one
    fragment to many.

    A fragment is a whole memory, as the model has learned to use it, and a turn sees one.
    """
    pool = PoolConfig(base.model.memory_attention.slots, new_below=-1, most_writes=4)
    phases = (
        FragmentsPhase(steps=800, turns=16, batch_size=8, trains=("router",), most_writes=1),
        FragmentsPhase(steps=100, turns=8, batch_size=12, most_writes=8),
        FragmentsPhase(steps=300, turns=16, batch_size=8, most_writes=8),
        FragmentsPhase(steps=600, turns=24, batch_size=6),
        FragmentsPhase(steps=600, turns=48, batch_size=3, shortest=16),
    )
    optim = OptimConfig(
        learning_rate=3e-4, warmup=40, min_lr_ratio=0.02, weight_decay=0.0, kind="muon", rates=ROUTER_FIRST
    )
    return replace(
        base,
        name="fragments",
        model=replace(base.model, pool=pool),
        stages=(FragmentsConfig(phases=phases, optim=optim),),
        validate_every=200,
        checkpoint_every=100,
    )
