"""The heads of an attention, as published configurations word them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rxt.config import Activation, AttentionConfig

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the stored tensors of one part, by published name (``model.layers.0.norm1.weight``)."""

ATTENTIONS = {name: name for name in ("mha", "gqa", "mqa", "sqa")}


@dataclass(frozen=True)
class Options:
    """What every attention of one part has in common."""

    gated: bool
    gate_activation: Activation
    output_bias: bool
    rope_base: float


@dataclass(frozen=True)
class Heads:
    """The heads of one attention, as a published configuration words them."""

    kind: str
    heads: int
    groups: int
    query_groups: int | None

    def config(self, width: int, options: Options, shapes: Shapes, where: str) -> AttentionConfig:
        """Our words for it; ``where`` occurs in the names of its tensors, and in no other attention's."""
        query_heads, kv_heads = {
            "mha": (self.heads, self.heads),
            "gqa": (self.heads, self.groups),
            "mqa": (self.heads, 1),
            "sqa": (self.query_groups or self.groups, self.groups),
        }[self.kind]
        return AttentionConfig(
            self.heads,
            query_heads,
            kv_heads,
            gated=options.gated,
            gate_activation=options.gate_activation,
            qk_norm=any(name.endswith("q_norm.weight") for name in shapes if where in name),
            output_bias=options.output_bias,
            rope_base=options.rope_base,
        )
