"""Feed-forward blocks: dense ones and mixtures of experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from rxt.config.attention import Activation
from rxt.config.checks import STRICT, at_least_one, require

BiasMode = Literal["local", "global", "off"]
FeedForwardKind = Literal["dense", "moe"]


@dataclass(frozen=True)
class FeedForwardConfig:
    """A dense feed-forward block, SwiGLU by default."""

    dim: int
    """F: the hidden size."""
    activation: Activation = "silu"
    gated: bool = True
    kind: Literal["dense"] = "dense"
    bias: bool = True
    """Biases of both projections."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("feed_forward", dim=self.dim)


@dataclass(frozen=True)
class MoEConfig:
    """A mixture of experts: K of E routed experts per token, plus shared ones that are always on."""

    dim: int
    """F of one routed expert."""
    experts: int
    top_k: int
    activation: Activation = "silu"
    gated: bool = True
    bias: BiasMode = "local"
    shared_experts: int = 0
    shared_dim: int | None = None
    """F of one shared expert; the routed experts' when not given."""
    shared_bias: BiasMode = "local"
    weighted_shared: bool = False
    """Scale the routed sum by K/(K+n) and the shared one by n/(K+n)."""
    kind: Literal["moe"] = "moe"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("feed_forward", dim=self.dim, experts=self.experts, top_k=self.top_k)
        require(
            self.top_k <= self.experts,
            "feed_forward.top_k",
            f"must be at most experts={self.experts}, found {self.top_k}",
        )
        require(
            self.shared_experts >= 0, "feed_forward.shared_experts", f"cannot be negative, found {self.shared_experts}"
        )
        if self.shared_dim is not None:
            at_least_one("feed_forward", shared_dim=self.shared_dim)


FeedForward = Annotated[FeedForwardConfig | MoEConfig, Field(discriminator="kind")]
