"""Layers that multiply in bfloat16, for inference on a processor that has matrix units for it.

Weights are kept rounded, in the order in which the processor reads them, and what they multiply is rounded before. The
residual stream, what norms compute, and softmax stay in float32. A whole model in bfloat16 gains
little on a processor: elementwise steps take longer in it, and every product puts its weight in order anew
(``docs/performance.md`` has the numbers).
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.model.attention import Attention, KeyValue
from rxt.model.encoder import Encoder, EncoderLayer
from rxt.model.feed_forward import DenseFeedForward, expand
from rxt.model.int8 import WIDENS
from rxt.model.layers import RMSNorm, Rotation, activate
from rxt.model.low_rank import LowRankLinear
from rxt.model.replace import Table, replace_modules, share_copy, take_over

TYPICAL_ROWS = 256
"""Rows that weights are put in order for; other numbers go too."""
PACKS = WIDENS and torch.backends.mkldnn.is_available()
"""Whether weights can be put in order beforehand."""


class RoundedWeights:
    """Weights (out, in) and biases (out,) of one or several linear layers that read the same, rounded to bfloat16.

    They are no parameters: the layers that they were made of keep those. ``scale`` (in,) is what their input would be
    multiplied by before.
    """

    def __init__(self, *linears: nn.Module, scale: Tensor | None = None) -> None:
        plain = [linear.merged() if isinstance(linear, LowRankLinear) else linear for linear in linears]
        weight = torch.cat([_weight(linear) for linear in plain])
        weight = (weight if scale is None else weight * scale.detach()).bfloat16()
        biases = [linear.bias.detach() for linear in plain if isinstance(linear, nn.Linear) and linear.bias is not None]
        self.bias = torch.cat(biases).bfloat16() if biases else None
        if biases and len(biases) < len(plain):
            raise ValueError("layers that are multiplied as one have all a bias, or none")
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS) if PACKS else weight

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # never written to, and what is in the processor's own order cannot be copied

    def multiply(self, x: Tensor) -> Tensor:
        """x · Wᵀ + b: (…, in) -> (…, out), both bfloat16."""
        if not PACKS:
            return F.linear(x, self._weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise.default(x, self._weight, self.bias, "none", [], "")


def _weight(linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)
    return linear.weight.detach()


class RoundedNorm(nn.Module):
    """x / √(mean(x²) + ε), rounded: the norm before a product that has its scale in the weights."""

    eps: Tensor

    def __init__(self, eps: float, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("eps", torch.tensor(eps))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.addcmul(self.eps, length, length, value=1 / x.shape[-1]).rsqrt_()
        return torch.mul(x, scale, out=torch.empty_like(x, dtype=self.dtype))


class RoundedAttention(Attention):
    """Attention in the place of another: it takes and gives what that does.

    Args:
        norm: of what it looks at and of what looks, both of which are then given without that norm's scale.
    """

    def __init__(self, original: Attention, norm: RMSNorm | None = None) -> None:
        with torch.device("meta"):
            super().__init__(original.q_proj.in_features, original.config)
        take_over(self, original)
        scale = None if norm is None else norm.weight
        queries, keys, values, gate = original.q_proj, original.k_proj, original.v_proj, original.gate_proj
        self._query, self._key_value = RoundedWeights(queries, scale=scale), RoundedWeights(keys, values, scale=scale)
        self._all = RoundedWeights(queries, keys, values, scale=scale)
        self._out = None if isinstance(original.out_proj, nn.Identity) else RoundedWeights(original.out_proj)
        self._gate = None if gate is None else RoundedWeights(gate, scale=scale)

    def keys_values(self, source: Tensor, rotation: Rotation | None = None) -> KeyValue:
        """Project ``source`` (B, S, D), keys and values by one product."""
        keys, values = self._split(self._key_value.multiply(source.bfloat16())).chunk(2, dim=1)
        return KeyValue(_turned(keys, self.k_norm, rotation), values)

    def forward(
        self,
        x: Tensor,
        source: KeyValue | None,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """As :meth:`Attention.forward`."""
        rounded = x.bfloat16()
        if source is None:
            queries, source = self._all_of_it(rounded, rotation)
        else:
            queries = _turned(self._split(self._query.multiply(rounded)), self.q_norm, rotation)
        merged = self._merged(queries, source, mask, causal)
        if self._gate is not None:
            merged = merged * activate(self._gate.multiply(rounded), self.config.gate_activation)
        return (merged if self._out is None else self._out.multiply(merged)).to(x.dtype)

    def _all_of_it(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeyValue]:
        """Queries, keys and values of x (B, T, D) by one product, and turned as one where they are not normed."""
        asked, held = self.config.query_heads, self.config.kv_heads
        heads = self._split(self._all.multiply(x))  # (B, Hq + 2·Hkv, T, Hd)
        if self.q_norm is None:
            queries, keys = _turned(heads[:, : asked + held], None, rotation).split((asked, held), dim=1)
        else:
            queries = _turned(heads[:, :asked], self.q_norm, rotation)
            keys = _turned(heads[:, asked : asked + held], self.k_norm, rotation)
        return queries, KeyValue(keys, heads[:, asked + held :])

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, H, T, Hd)


def _turned(heads: Tensor, norm: nn.Module | None, rotation: Rotation | None) -> Tensor:
    """Normed and rotated where they are to be."""
    if norm is not None:
        heads = norm(heads)
    if rotation is None:
        return heads.bfloat16()
    # as rotate() does, but in place, and in the order in which they lie: (B, T, H, Hd)
    exact = heads.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    turns = torch.complex(rotation.cos, rotation.sin).transpose(1, 2)
    torch.view_as_complex(exact.view(*exact.shape[:-1], -1, 2)).mul_(turns)
    return exact.bfloat16().transpose(1, 2)


class RoundedFeedForward(DenseFeedForward):
    """A dense feed-forward block in the place of another.

    Args:
        norm: of what it reads, which is then given without that norm's scale.
    """

    def __init__(self, original: DenseFeedForward, norm: RMSNorm | None = None) -> None:
        with torch.device("meta"):
            super().__init__(original.fc1.in_features, original.config)
        take_over(self, original)
        self._first = RoundedWeights(original.fc1, scale=None if norm is None else norm.weight)
        self._second = RoundedWeights(original.fc2)

    def forward(self, x: Tensor, mask: Tensor | None = None, balanced: bool = True) -> tuple[Tensor, None]:
        """As :meth:`DenseFeedForward.forward`."""
        hidden = expand(self._first.multiply(x.bfloat16()), self.config.activation, self.config.gated)
        return self._second.multiply(hidden).to(x.dtype), None


ROUNDED: Table = {Attention: RoundedAttention, DenseFeedForward: RoundedFeedForward}
"""For layers of any kind. Experts stay as they are."""


def eps_of(norm: RMSNorm) -> float:
    """What a norm adds to the mean square."""
    return torch.finfo(norm.weight.dtype).eps if norm.eps is None else norm.eps


class RoundedEncoder(Encoder):
    """An encoder in the place of another. What it gives is in float32, and has no gradient."""

    def __init__(self, original: Encoder) -> None:
        nn.Module.__init__(self)
        take_over(self, original)
        self.config = original.config
        self.layers = nn.ModuleList(_rounded(layer) for layer in original.layers)

    @torch.inference_mode()
    def outputs(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> list[Tensor]:
        """As :meth:`Encoder.outputs`."""
        return super().outputs(ids, mask, slots)


def _rounded(layer: nn.Module) -> EncoderLayer:
    """The same layer, in which norms of root mean squares leave their scales to the products that read them."""
    assert isinstance(layer, EncoderLayer)
    copy = share_copy(layer)
    first, third = layer.norm1, layer.norm3
    if isinstance(first, RMSNorm):
        copy.attention, copy.norm1 = RoundedAttention(layer.attention, first), RoundedNorm(eps_of(first))
    if isinstance(third, RMSNorm) and isinstance(layer.feed_forward, DenseFeedForward):
        copy.feed_forward, copy.norm3 = RoundedFeedForward(layer.feed_forward, third), RoundedNorm(eps_of(third))
    replace_modules(copy, ROUNDED)  # what is left
    return copy
