"""The recipe of a small model that thinks and calls tools over what it was told, from nothing."""

from __future__ import annotations

from dataclasses import replace

from rxt.presets import preset
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.hybrid import HybridConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import OptimConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.stages.interaction import InteractionConfig
from rxt.training.stages.joint import JointConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.memory_pretrain import MemoryPretrainConfig

MIX = HybridConfig(question_rate=0.4, distance_evenness=4.0, open_threads=6)
"""Asks late: of the questions in conversations of 28 turns, four in ten are about what was told 9 turns ago or more."""
EVERYDAY = EverydayConfig(novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2)
"""Short facts beside the hybrid conversations: what memory is for is learned from them sooner, and they cost little."""


def hybrid() -> RunConfig:
    """A small model of the Beta template (``--workers 2`` for two cores), at most 12 MB.

    As the pocket model it learns to remember in conversations that grow; what it writes of them in between, steps and
    calls, are most of its tokens, so the loss is a mean over all of them.
    """
    optim = OptimConfig(learning_rate=2e-3, warmup=40, min_lr_ratio=0.02, kind="muon", accumulate=2)
    return RunConfig(
        name="hybrid",
        model=preset("hybrid"),
        tokenizer=TokenizerConfig(vocab_size=2_048),
        stages=(
            JointConfig(steps=80, batch_size=12, optim=optim),
            InteractionConfig(steps=600, batch_size=64, optim=optim),
            MemoryPretrainConfig(steps=40, batch_size=16, turns=4, optim=replace(optim, learning_rate=1e-3)),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=10, turns=2, batch_size=32, echo=True, trains=("decoder",)),
                    Phase(steps=20, turns=2, batch_size=32, echo=True, trains=("decoder", "memory_attention")),
                    Phase(steps=100, turns=2, batch_size=32, echo=True),
                    Phase(steps=200, turns=3, batch_size=32),
                    Phase(steps=1_500, turns=6, batch_size=16),
                    Phase(steps=2_500, turns=12, batch_size=8),
                    Phase(steps=2_000, turns=20, batch_size=6),
                    Phase(steps=1_200, turns=28, batch_size=4),
                ),
                optim=replace(optim, learning_rate=1.5e-3, weight_decay=0.1),
                mean_over="answers",
            ),
        ),
        data=DataConfig((TaskSource("hybrid", MIX, weight=3), TaskSource("everyday", EVERYDAY, weight=1))),
        validate_every=400,
        checkpoint_every=200,
    )
