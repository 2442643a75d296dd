"""The variants of memory attention, by the name that a configuration gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One kind of memory attention: where its layers are implemented, and what its configuration must say."""

    implementation: str
    """``module:Class``, a :class:`rxt.model.consolidation.MemoryAttentionLayer`, imported when a model is built."""
    needs_groups: bool = False
    """Whether ``groups`` must be given; otherwise it must not."""
    needs_queue: bool = False
    """Whether ``queue`` must be given; otherwise it must not."""


VARIANTS: dict[str, Variant] = {
    "simple": Variant("rxt.model.consolidation:Simple"),
    "self": Variant("rxt.model.consolidation:SelfAttention"),
    "interlayer": Variant("rxt.model.consolidation:Interlayer"),
    "self-interlayer": Variant("rxt.model.consolidation:SelfInterlayer"),
    "grouped-self-interlayer": Variant("rxt.model.consolidation:GroupedSelfInterlayer", needs_groups=True),
    "queue": Variant("rxt.model.memory_queue:LearnedQueue", needs_queue=True),
    "tokens": Variant("rxt.model.memory_queue:TokenQueue", needs_queue=True),
}
"""A further variant is one line here and one class."""
