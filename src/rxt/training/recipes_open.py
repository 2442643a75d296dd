"""The recipe of a small model for an open world, from nothing."""

from __future__ import annotations

from dataclasses import replace

from rxt.presets import preset
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.open import OpenConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import OptimConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.stages.interaction import InteractionConfig
from rxt.training.stages.joint import JointConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase

EVERYDAY = EverydayConfig(
    novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2, never_told_rate=0.2, paraphrase_rate=0.3
)
"""The small world beside the open one."""


def open_world() -> RunConfig:
    """A small model for an open world (``--workers 2`` for two cores): a pilot, see the log.

    Random strings are recited before there are words to remember, from four turns on: in two, gates would learn to open
    for what comes first and for nothing after it. Beside the words they go on, or the words would unlearn them.
    """
    optim = OptimConfig(learning_rate=1.2e-3, warmup=40, min_lr_ratio=0.02, kind="muon", accumulate=2)

    def phase(steps: int, turns: int, batch_size: int, random_share: float = 0.33) -> Phase:
        return Phase(steps, turns, batch_size, random_pieces=12, random_share=random_share)

    return RunConfig(
        name="open",
        model=preset("open"),
        tokenizer=TokenizerConfig(vocab_size=2_048, case_marks=True, piece_length=8),
        stages=(
            JointConfig(steps=100, batch_size=12, optim=replace(optim, learning_rate=2e-3)),
            InteractionConfig(steps=800, batch_size=64, optim=replace(optim, learning_rate=2e-3)),
            MemoryAwareConfig(
                phases=(
                    phase(1_500, 4, 16, random_share=1.0),
                    phase(800, 8, 12, random_share=1.0),
                    phase(300, 2, 48),
                    phase(1_000, 4, 24),
                    phase(2_500, 8, 12),
                    phase(2_500, 16, 6),
                    phase(1_000, 24, 5),
                ),
                optim=replace(optim, weight_decay=0.1),
                mean_over="answers",
            ),
        ),
        data=DataConfig(
            (
                TaskSource("open", OpenConfig(never_told_rate=0.2), weight=8),
                TaskSource("everyday", EVERYDAY, weight=1),
            )
        ),
        validate_every=400,
        checkpoint_every=200,
    )
