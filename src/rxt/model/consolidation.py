"""The variants of memory attention: what the slots of one layer look at before an interaction is written into them.

A variant is one class here, or in a file of its own, and one line in :data:`rxt.config.VARIANTS`. With m the layer's
memory, n its norm, M the normed mean over layers (or over a group of them)::

    simple                    u = m
    self                      u = gate(m, attn(query=n, keys=values=n))
    interlayer                u = gate(m, attn(query=n, keys=values=M))
    self-interlayer           u = gate(m, attn(query=n, keys=values=gate(n, M)))
    grouped-self-interlayer   the same, with M over the layer's group
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import torch
from torch import Tensor, nn

from rxt.config import VARIANTS, GateConfig, MemoryAttentionConfig
from rxt.model.attention import Attention, KeyValue
from rxt.model.layers import Rotation
from rxt.model.memory_gate import ResidualGate
from rxt.model.memory_norm import MemoryNorm


@dataclass(frozen=True)
class Published:
    """How the published layout names a variant's consolidation."""

    tensors: str = ""
    """Opens the names of its lists of layers: ``self`` for ``self_attention_layers``. Empty where there are none."""
    keys: str = "interlayer_att"
    """Opens its keys in a published configuration: ``self_att`` for ``self_att_type``."""
    mean_gate: bool = False
    """Whether it has ``interlayer_gate_layers``."""
    gated: bool = True
    """Whether the consolidation is gated where a published configuration does not say."""


class MemoryAttentionLayer(nn.Module, ABC):
    """Writes an interaction into one layer's memory.

    Its ``__init__`` sets ``input_norm`` (:meth:`new_input_norm`). Most variants are better off as a
    :class:`GatedLayer`, which has all but the consolidation.
    """

    looks_at_mean: ClassVar[bool] = False
    """Whether it is given the mean over layers."""
    has_consolidation: ClassVar[bool] = True
    """Whether slots look at anything but the interaction."""
    has_projections: ClassVar[bool] = True
    """Whether what is written is projected: the layer has an ``attention`` of its own."""
    published: ClassVar[Published | None] = None
    """None where the published layout has no place for the variant."""

    input_norm: MemoryNorm | None
    """Of the encoded interaction."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        self.config = config
        if self.has_projections:
            self.attention = Attention(config.width, config.attention)
            start_as_copy(self.attention)

    def new_norm(self) -> MemoryNorm:
        """A norm over the width."""
        return MemoryNorm(self.config.norm, self.config.width)

    def new_input_norm(self) -> MemoryNorm | None:
        """Where the configuration has one. A variant makes it in its own order: parameters are clipped, and
        fingerprinted, in the order of their making."""
        return self.new_norm() if self.config.input_norm else None

    def project(self, encoded: Tensor, rotation: Rotation | None) -> KeyValue:
        """Keys and values of the encoded interaction (B, T, D)."""
        return self.attention.keys_values(self.normed(encoded), rotation)

    def normed(self, encoded: Tensor) -> Tensor:
        """The encoded interaction (B, T, D) as slots look at it."""
        return encoded if self.input_norm is None else self.input_norm(encoded)

    @abstractmethod
    def forward(self, memory: Tensor, mean: Tensor | None, source: KeyValue, mask: Tensor | None) -> Tensor:
        """The new memory (B, S, D) from the old one; where ``looks_at_mean``, the normed mean over layers (B, S, D);
        and the projected interaction, with ``mask`` (B, 1, 1, T) False at padding."""


class GatedLayer(MemoryAttentionLayer):
    """Consolidates the memory, then every slot looks up the interaction and a gate says how much of it stays. A variant
    says how it consolidates."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.norm = self.new_norm()
        self.input_norm = self.new_input_norm()
        self.gate = self.new_gate(config.gate)

    def new_gate(self, config: GateConfig) -> ResidualGate:
        """A gate over the slots of this layer."""
        return ResidualGate(config, self.config.width, self.config.slots)

    def forward(self, memory: Tensor, mean: Tensor | None, source: KeyValue, mask: Tensor | None) -> Tensor:
        updated = self.consolidate(memory, mean)
        written = self.attention(self.norm(updated), source, mask=mask)
        return self.gate(updated, written)

    @abstractmethod
    def consolidate(self, memory: Tensor, mean: Tensor | None) -> Tensor:
        """u (B, S, D) from a layer's memory (B, S, D) and, where ``looks_at_mean``, the normed mean over layers
        (B, S, D)."""


class Simple(GatedLayer):
    """Slots look at the interaction alone."""

    has_consolidation = False
    published = Published()

    def consolidate(self, memory: Tensor, mean: Tensor | None) -> Tensor:
        return memory


class SelfAttention(GatedLayer):
    """Slots look at each other."""

    published = Published("self", "self_att", gated=False)

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.consolidation = Attention(config.width, config.consolidation or config.attention)
        self.consolidation_norm = self.new_norm()
        self.consolidation_gate = self.new_gate(config.gate if config.self_gate else GateConfig("ungated"))

    def consolidate(self, memory: Tensor, mean: Tensor | None) -> Tensor:
        normed = self.consolidation_norm(memory)
        source = self.consolidation.keys_values(self.source(normed, mean))
        return self.consolidation_gate(memory, self.consolidation(normed, source))

    def source(self, normed: Tensor, mean: Tensor | None) -> Tensor:
        """What the slots look at (B, S, D)."""
        return normed


class Interlayer(SelfAttention):
    """Slots look at the mean over layers."""

    looks_at_mean = True
    published = Published("mean", "interlayer_att")

    def source(self, normed: Tensor, mean: Tensor | None) -> Tensor:
        assert mean is not None
        return mean


class SelfInterlayer(Interlayer):
    """Slots look at a gated mix of each other and the mean over layers."""

    published = Published("mean", "interlayer_att", mean_gate=True)

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.mean_gate = self.new_gate(config.gate)

    def source(self, normed: Tensor, mean: Tensor | None) -> Tensor:
        return self.mean_gate(normed, super().source(normed, mean))


class GroupedSelfInterlayer(SelfInterlayer):
    """As :class:`SelfInterlayer`; the mean is over the layer's group of consecutive layers."""


def layer_class(variant: str) -> type[MemoryAttentionLayer]:
    """The class of a registered variant."""
    module, _, name = VARIANTS[variant].implementation.partition(":")
    found = getattr(import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, MemoryAttentionLayer)):
        raise TypeError(f"{VARIANTS[variant].implementation} is no MemoryAttentionLayer")
    return found


@torch.no_grad()
def start_as_copy(attention: Attention) -> None:
    """Let an untrained write copy what its slot looks at, so that the decoder can read slots as it reads encoded
    tokens.

    out(v(x)) becomes x itself where the value heads span the width, else x on the dimensions that they span. Queries
    and keys that are normed start four times as long, so that a slot looks at few tokens and every slot at others.
    """
    if attention.v_proj.weight.is_meta:  # shapes alone, as they are counted
        return
    config, out = attention.config, attention.out_proj
    nn.init.eye_(attention.v_proj.weight)  # (Hkv·Hd, D)
    if isinstance(out, nn.Linear):
        copies = config.output_heads // config.kv_heads
        back = attention.v_proj.weight.unflatten(0, (config.kv_heads, -1)).repeat_interleave(copies, 0) / copies
        out.weight.copy_(back.reshape(out.in_features, out.out_features).T)
        if config.output_bias:
            nn.init.zeros_(out.bias)
    if attention.q_norm is not None:
        nn.init.constant_(attention.q_norm.weight, 4.0)
