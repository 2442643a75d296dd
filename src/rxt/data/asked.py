"""What is known of a question whose answer is known."""

from __future__ import annotations

from typing import Protocol


class Asked(Protocol):
    """A question that can score answers to it."""

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> str | None:
        """What a right answer holds; None when that was never told."""
        ...

    def correct(self, answer: str) -> bool:
        """The scorer: whether an answer is right, decided exactly."""
        ...
