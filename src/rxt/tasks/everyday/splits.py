"""Which combinations of values each split may show.

A fixed hash puts every unordered pair of (kind, value) into "test" (10 %), "validation" (5 %) or "train" (the rest).
Training conversations hold train pairs only. In a test conversation every fact after the first makes at least one
test pair with an earlier fact; in a validation conversation at least one validation pair and no test pair. Every
single value is seen in training, so the test is about remembering and not about spelling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Literal

PairSplit = Literal["train", "validation", "test"]

_TEST_PERCENT = 10
_VALIDATION_PERCENT = 5
_MASK = (1 << 64) - 1


@cache
def _value_code(kind: str, value: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{kind}={value}".encode(), digest_size=8).digest(), "big")


def _pair_percent(a: int, b: int) -> int:
    """A number from 0 to 99 for the unordered pair of codes: the sum, mixed (the finalizer of SplitMix64)."""
    mixed = (a + b) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) % 100


def _split_of_percent(percent: int) -> PairSplit:
    if percent < _TEST_PERCENT:
        return "test"
    return "validation" if percent < _TEST_PERCENT + _VALIDATION_PERCENT else "train"


def pair_split(kind_a: str, value_a: str, kind_b: str, value_b: str) -> PairSplit:
    """The split that owns the unordered pair of two facts' values; whom the facts are about does not matter."""
    return _split_of_percent(_pair_percent(_value_code(kind_a, value_a), _value_code(kind_b, value_b)))


def _shuffled(values: Sequence[str], rng: Random) -> Iterator[str]:
    """The values in random order, shuffled only as far as they are read."""
    rest = list(values)
    while rest:
        at = int(rng.random() * len(rest))
        rest[at], rest[-1] = rest[-1], rest[at]
        yield rest.pop()


class ValuePicker:
    """Picks the values of one conversation so that its pairs belong to its split; no text is used twice."""

    def __init__(self, split: PairSplit, rng: Random) -> None:
        self._split = split
        self._rng = rng
        self._codes: list[int] = []
        self._used: set[str] = set()

    def note(self, kind: str, value: str) -> None:
        """Count a value as part of the conversation, whoever picked it."""
        self._codes.append(_value_code(kind, value))
        self._used.add(value.lower())

    def pick(self, kind: str, values: Sequence[str]) -> str | None:
        """A new value of ``kind`` out of ``values``, or None when no value fits the earlier ones."""
        for value in _shuffled(values, self._rng):
            if value.lower() in self._used:
                continue
            code = _value_code(kind, value)
            if self._fits(code):
                self.note(kind, value)
                return value
        return None

    def _fits(self, code: int) -> bool:
        if self._split == "train":
            held_out = _TEST_PERCENT + _VALIDATION_PERCENT
            return all(_pair_percent(code, earlier) >= held_out for earlier in self._codes)
        found = {_split_of_percent(_pair_percent(code, earlier)) for earlier in self._codes}
        if self._split == "validation" and "test" in found:
            return False
        return not self._codes or self._split in found
