"""What is known of a question whose answer is known."""

from __future__ import annotations

from typing import Protocol


class Asked(Protocol):
    """The part of a question that scoring needs."""

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> str | None: ...
