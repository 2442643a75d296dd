"""The curriculum of models that begin able to copy (:mod:`rxt.model.copying_start`), from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from rxt.training.config_base import OptimConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.retrieval import READERS, RetrievalConfig

OPTIM = OptimConfig(learning_rate=2e-3, warmup=60, min_lr_ratio=0.02, weight_decay=0.1, kind="muon", accumulate=2)


class Talks(NamedTuple):
    """Some updates with conversations of ``shortest`` to ``turns`` turns."""

    steps: int
    shortest: int
    turns: int
    batch_size: int


def look_up_then_keep(
    strings: int, looking_up: Sequence[Talks], keeping: Sequence[Talks]
) -> tuple[RetrievalConfig, MemoryAwareConfig]:
    """Random strings alone, for so many updates; then what is to be looked up in conversations, out of all their
    tokens; at last to keep it in memory, of which the first updates train the write alone. Strings go on beside the
    conversations, or these would unlearn them."""
    every_part = ("decoder", "memory_attention", "encoder")

    def phase(talks: Talks, trains: tuple[str, ...], random_share: float) -> Phase:
        return Phase(
            talks.steps,
            talks.turns,
            talks.batch_size,
            trains,
            random_pieces=12,
            random_share=random_share,
            within_share=0.25,
            shortest=talks.shortest,
        )

    retrieval = RetrievalConfig(
        phases=(
            phase(Talks(strings, 2, 6, 50), READERS, 1.0),
            *(phase(talks, READERS, 0.35) for talks in looking_up),
        ),
        optim=OPTIM,
    )
    memory_aware = MemoryAwareConfig(
        phases=(
            phase(Talks(100, 4, 8, 14), ("memory_attention",), 0.5),
            *(phase(talks, every_part, 0.2) for talks in keeping),
        ),
        optim=replace(OPTIM, learning_rate=1.2e-3),
        mean_over="answers",
    )
    return retrieval, memory_aware
