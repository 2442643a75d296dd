"""The recipe that gives a model which remembers a pool of fragments."""

from __future__ import annotations

from dataclasses import replace

from rxt.config import PoolConfig
from rxt.training.config import RunConfig
from rxt.training.config_base import SLOW_GATES, OptimConfig, RateFactor
from rxt.training.stages.fragments import FragmentsConfig, FragmentsPhase

ROUTER_FAST = (RateFactor("router", 6.0), *SLOW_GATES)
"""A new router learns at several times the rate of a model that has been trained. Gates learn slowly: with the others'
rate what was told long ago is soon lost."""


def with_fragments(base: RunConfig) -> RunConfig:
    """Further training of a base's model, in place of its stages: first the router alone, then all of it, from one
    fragment to many.

    A fragment is a whole memory, as the model has learned to use it, and a turn sees one. Each interaction gets a
    fragment of its own, so what was told is as fresh as it was when it was told, and all depends on finding it: most
    updates are of conversations with many fragments. Encoder and router learn together what a text asks for.
    """
    pool = PoolConfig(base.model.memory_attention.slots, new_below=-1, most_writes=1)
    phases = (
        FragmentsPhase(steps=600, turns=16, batch_size=8, trains=("router",)),
        FragmentsPhase(steps=100, turns=8, batch_size=16, most_writes=8),
        FragmentsPhase(steps=100, turns=16, batch_size=8, most_writes=4),
        FragmentsPhase(steps=1_400, turns=16, batch_size=8),
        FragmentsPhase(steps=500, turns=48, batch_size=6, shortest=16),
    )
    optim = OptimConfig(
        learning_rate=6e-4, warmup=40, min_lr_ratio=0.02, weight_decay=0.0, kind="muon", rates=ROUTER_FAST
    )
    return replace(
        base,
        name="fragments",
        model=replace(base.model, pool=pool),
        stages=(FragmentsConfig(phases=phases, optim=optim),),
        validate_every=200,
        checkpoint_every=100,
    )
