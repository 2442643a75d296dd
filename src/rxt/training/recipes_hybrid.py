"""The recipe of a small model that thinks and calls tools over what it was told, from nothing."""

from __future__ import annotations

from rxt.presets import preset
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.hybrid import HybridConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.recipes_copying import Talks, look_up_then_keep

MIX = HybridConfig(question_rate=0.75, reply_rate=0.2, call_rate=0.65, made_rate=0.6, system_rate=0.5)
"""More questions than usual, and of these more that a tool is for, made-up ones rather: how to call is learned last."""
EVERYDAY = EverydayConfig(novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2)
"""Short facts beside the hybrid conversations: what memory is for is learned from them sooner, and they cost little."""


def hybrid() -> RunConfig:
    """A small model of the Beta template (``--workers 2`` for two cores), at most 12 MB.

    It begins able to copy, learns that whole on random strings within minutes, then what is to be looked up in
    conversations, out of all their tokens, and at last to keep it in its memory.
    """
    return RunConfig(
        name="hybrid",
        model=preset("hybrid"),
        tokenizer=TokenizerConfig(vocab_size=2_048),
        copies=True,
        stages=look_up_then_keep(
            strings=160,
            looking_up=(Talks(1_500, 3, 10, 20), Talks(3_000, 3, 22, 11)),
            keeping=(Talks(250, 4, 10, 14), Talks(450, 4, 16, 9), Talks(700, 6, 26, 6)),
        ),
        data=DataConfig((TaskSource("hybrid", MIX, weight=3), TaskSource("everyday", EVERYDAY, weight=1))),
        validate_every=200,
        checkpoint_every=100,
    )
