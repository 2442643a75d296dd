"""One attention block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config.checks import STRICT, at_least_one, check_eps, require

Activation = Literal["silu", "relu", "gelu", "sigmoid", "linear"]


@dataclass(frozen=True)
class AttentionConfig:
    """One attention block. The kinds of the family differ only in ``query_heads`` and ``kv_heads``."""

    heads: int
    """H: the width is split for this many heads, so Hd = D / H unless ``head_dim`` says otherwise."""
    query_heads: int
    """Hq: query heads actually used."""
    kv_heads: int
    """Hkv: key/value heads actually used. More than Hq is reversed SQA: query heads are tiled."""
    gated: bool = False
    """Multiply the heads' output by ``gate_activation(gate_proj(x))`` before ``out_proj``."""
    gate_activation: Activation = "sigmoid"
    qk_norm: bool = False
    """RMS norm over Hd on every query and key head."""
    output_bias: bool = True
    rope_base: float = 10_000.0
    head_dim: int | None = None
    """Hd, where it is not D / H."""
    input_bias: bool = False
    """Biases of the projections to queries, keys and values."""
    norm_eps: float | None = None
    """ε of the norms on queries and keys; by default the smallest of the numbers' type."""
    rotated: bool = True
    """Turn queries by their positions, and keys where they have an order. Off: what is looked up is found by its
    content alone."""
    output_projection: bool = True
    """Multiply the heads, side by side, by a matrix. Off: they are the output as they are, so together they must be as
    wide as the model. With a single head, a matrix after its values would say no more than one alone."""
    rope_factors: tuple[float, ...] | None = None
    """(Hd / 2): each pair turns so many times slower than ``rope_base`` says, for texts longer than those that a
    pre-trained model was trained on first."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("attention", heads=self.heads, query_heads=self.query_heads, kv_heads=self.kv_heads)
        for name in ("query_heads", "kv_heads"):
            found = getattr(self, name)
            require(found <= self.heads, f"attention.{name}", f"must be at most heads={self.heads}, found {found}")
        small, large = sorted((self.query_heads, self.kv_heads))
        require(
            large % small == 0, "attention.kv_heads", f"{self.kv_heads} and query_heads {self.query_heads} must divide"
        )
        require(self.rope_base > 1, "attention.rope_base", f"must be above 1, found {self.rope_base}")
        if self.head_dim is not None:
            at_least_one("attention", head_dim=self.head_dim)
        both = self.output_bias and not self.output_projection
        require(not both, "attention.output_bias", "does not go without output_projection; turn it off")
        check_eps("attention", self.norm_eps)
        if self.rope_factors is not None:
            require(min(self.rope_factors, default=0) > 0, "attention.rope_factors", "must be above 0, one a pair")

    @classmethod
    def mha(cls, heads: int) -> AttentionConfig:
        """Multi-head attention: Hq = Hkv = H."""
        return cls(heads, heads, heads)

    @classmethod
    def gqa(cls, heads: int, groups: int) -> AttentionConfig:
        """Grouped-query attention: Hq = H, Hkv = groups."""
        return cls(heads, heads, groups)

    @classmethod
    def mqa(cls, heads: int) -> AttentionConfig:
        """Multi-query attention: Hq = H, Hkv = 1."""
        return cls(heads, heads, 1)

    @classmethod
    def sqa(cls, heads: int, query_heads: int | None = None, kv_heads: int | None = None) -> AttentionConfig:
        """Sparse query attention; without numbers the symmetric kind, Hq = Hkv = H / 2 (the family's default)."""
        query_heads = heads // 2 if query_heads is None else query_heads
        return cls(heads, query_heads, query_heads if kv_heads is None else kv_heads)

    def head_size(self, width: int) -> int:
        """Hd: the size of one head in a model of this width."""
        return width // self.heads if self.head_dim is None else self.head_dim

    def check_fits(self, width: int, where: str, turns: bool = True) -> None:
        """Refuse heads that a width cannot be split for, and, where something ``turns`` them, odd ones.

        ``where`` names this block in the message.
        """
        if self.head_dim is None:
            require(width % self.heads == 0, f"{where}.heads", f"{self.heads} must divide width {width}")
            field, found = "heads", f"{self.heads} leave"
        else:
            field, found = "head_dim", f"{self.head_dim} is"
        whole = self.output_projection or self.output_heads * self.head_size(width) == width
        require(whole, f"{where}.output_projection", f"is off, but the heads are not {width} wide")
        even = self.head_size(width) % 2 == 0
        require(even or not turns, f"{where}.{field}", f"{found} an odd head size; RoPE turns pairs")
        pairs, factors = self.head_size(width) // 2, self.rope_factors
        fits = factors is None or len(factors) == pairs
        require(fits, f"{where}.rope_factors", f"must be {pairs}, one a pair, found {len(factors or ())}")

    @property
    def output_heads(self) -> int:
        """Heads that leave the block: Hq, or Hkv when the query heads are tiled (reversed SQA)."""
        return max(self.query_heads, self.kv_heads)
