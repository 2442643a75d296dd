"""What may hold of one answer beside its sampling."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Constraint(Protocol):
    """Which tokens one answer may have. It is told each of them, in order."""

    def narrow(self, logits: Tensor) -> Tensor:
        """Logits (V,) of the next token, those of tokens that may not come set to −∞."""
        ...

    def take(self, token: int, left: int) -> int:
        """The token that comes where ``token`` was chosen; ``left``: how many may follow it, [EOS] among them."""
        ...
