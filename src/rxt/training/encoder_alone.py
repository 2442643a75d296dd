"""The encoder with its MLM head, saved as the last stage leaves them that trains both.

Later stages train the encoder for its memory and leave the head behind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rxt.errors import UserError
from rxt.interop.published_config_export import encoder_values
from rxt.interop.published_export import save_published_component
from rxt.model.encoder import Encoder
from rxt.training.learner import ReactiveLearner
from rxt.understanding.fill_mask import MLM_HEAD


def encoder_saver(learner: ReactiveLearner) -> Callable[[Path], None] | None:
    """Writes encoder and head, as they are when it is called, into a folder, in the published layout.

    None where that layout has no words for the encoder, or where it has no weights of its own.
    """
    encoder, slots = learner.model.encoder, learner.model.config.memory_attention.slots
    if not isinstance(encoder, Encoder):
        return None
    try:
        encoder_values(encoder.config, slots)
    except UserError:
        return None

    def save(folder: Path) -> None:
        save_published_component(encoder, folder, slots)
        save_published_component(learner.mlm_head, folder / MLM_HEAD)

    return save
