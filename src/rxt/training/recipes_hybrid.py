"""The recipe of a small model that thinks and calls tools over what it was told, from nothing."""

from __future__ import annotations

from dataclasses import replace

from rxt.presets import preset
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.hybrid import HybridConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import OptimConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.retrieval import READERS, RetrievalConfig

MIX = HybridConfig(question_rate=0.4, distance_evenness=4.0, open_threads=6)
"""Asks late: of the questions in conversations of 28 turns, four in ten are about what was told 9 turns ago or more."""
EVERYDAY = EverydayConfig(novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2)
"""Short facts beside the hybrid conversations: what memory is for is learned from them sooner, and they cost little."""


def hybrid() -> RunConfig:
    """A small model of the Beta template (``--workers 2`` for two cores), at most 12 MB.

    It begins able to copy, learns that whole on random strings within minutes, then what is to be looked up in
    conversations, out of all their tokens, and at last to keep it in its memory.
    """
    optim = OptimConfig(learning_rate=2e-3, warmup=60, min_lr_ratio=0.02, weight_decay=0.1, kind="muon", accumulate=2)

    def reading(steps: int, turns: int, batch_size: int, random_share: float = 0.35, shortest: int = 3) -> Phase:
        return Phase(
            steps,
            turns,
            batch_size,
            READERS,
            random_pieces=12,
            random_share=random_share,
            within_share=0.25,
            shortest=shortest,
        )

    def remembering(steps: int, turns: int, batch_size: int, shortest: int, random_share: float = 0.2) -> Phase:
        return replace(
            reading(steps, turns, batch_size, random_share, shortest), trains=("decoder", "memory_attention", "encoder")
        )

    return RunConfig(
        name="hybrid",
        model=preset("hybrid"),
        tokenizer=TokenizerConfig(vocab_size=2_048),
        copies=True,
        stages=(
            RetrievalConfig(
                phases=(
                    reading(160, 6, 50, random_share=1.0, shortest=2),
                    reading(700, 10, 16),
                    reading(1_000, 22, 10),
                ),
                optim=optim,
            ),
            MemoryAwareConfig(
                phases=(
                    replace(remembering(100, 8, 14, 4, random_share=0.5), trains=("memory_attention",)),
                    remembering(250, 10, 14, 4),
                    remembering(450, 16, 9, 4),
                    remembering(700, 26, 6, 6),
                ),
                optim=replace(optim, learning_rate=1.2e-3),
                mean_over="answers",
            ),
        ),
        data=DataConfig((TaskSource("hybrid", MIX, weight=3), TaskSource("everyday", EVERYDAY, weight=1))),
        validate_every=200,
        checkpoint_every=100,
    )
