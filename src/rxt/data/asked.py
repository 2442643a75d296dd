"""What is known of a question whose answer is known."""

from __future__ import annotations

import re
from typing import Protocol

UNKNOWN = re.compile(
    r"\b(don.?t|do not|can.?t|cannot) (know|say|tell)\b|\bI (don.?t|do not) have\b|\bno idea\b|\bnot sure\b"
    r"|\b(don.?t|do not) (think|believe) (that )?you(.?ve| have|)( ever)? (told|said|mentioned)\b"
    r"|\bnever (told|said|mentioned|shared)\b|\b(was|were)(n.?t| not) told\b|\b(nobody|no one)( has)? (told|said)\b"
    r"|\b(have|has|had|did)(n.?t| not) (yet |ever |been )?"
    r"(told|tell|said|say|mention(ed)?|give(n)?|shared?|heard?)\b",
    re.IGNORECASE,
)
"""What says that something is not known."""


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
