"""The recipe of a small model for an open world, from nothing."""

from __future__ import annotations

from rxt.presets import preset
from rxt.tasks.deeds import DeedsConfig
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.open import OpenConfig
from rxt.tasks.scenes import ScenesConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.recipes_copying import Talks, look_up_then_keep

EVERYDAY = EverydayConfig(
    novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2, never_told_rate=0.2, paraphrase_rate=0.3
)
"""The small world beside the open one."""


DEEDS = DeedsConfig(never_told_rate=0.2, reply_rate=0.2)
SCENES = ScenesConfig(never_told_rate=0.2, reply_rate=0.2)


def open_world() -> RunConfig:
    """A small model for an open world, from nothing (``--workers 2`` for two cores).

    What it is told it has never seen before, so it begins able to copy, and learns what is to be looked up before it
    learns to keep it.
    """
    return RunConfig(
        name="open",
        model=preset("open"),
        tokenizer=TokenizerConfig(vocab_size=2_048, case_marks=True, piece_length=8),
        copies=True,
        stages=look_up_then_keep(
            strings=200,
            looking_up=(Talks(1_500, 2, 8, 20), Talks(1_500, 3, 20, 11)),
            keeping=(Talks(400, 4, 10, 14), Talks(800, 4, 16, 9), Talks(800, 6, 26, 6)),
        ),
        data=DataConfig(
            (
                TaskSource("open", OpenConfig(never_told_rate=0.2, reply_rate=0.3), weight=4),
                TaskSource("deeds", DEEDS, weight=2),
                TaskSource("scenes", SCENES, weight=4),
                TaskSource("everyday", EVERYDAY, weight=1.5),
            )
        ),
        validate_every=200,
        checkpoint_every=100,
    )
