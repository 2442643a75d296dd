"""The kinds of values: each is drawn, not listed. Training, validation and test share no value of an open kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from random import Random
from typing import Literal

ValueSplit = Literal["train", "validation", "test"]
Draw = Callable[[Random], str]

_TRIES = 200
_LEADING = re.compile(
    r"^(?:(?:in|on|at|under|behind|inside|next to|by|near|beside|below|above|between|with|from|to|the|a|an|my|your|his"
    r"|her|their|some|about|around)\s+)+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Kind:
    """A kind of value, as it is written with care in the middle of a sentence."""

    draw: Draw
    closed: bool = False
    """There are so few of them (days of the week) that every split has them all."""
    noun: bool = True
    """Whether it stands after "is": "to sail" and "because the roof leaks" do not."""


def core(value: str) -> str:
    """What of a value must be in a right answer: "in the blue suitcase" -> "blue suitcase"."""
    return _LEADING.sub("", value) or value


@lru_cache(maxsize=1 << 18)
def split_of(value: str) -> ValueSplit:
    """Whose value it is: of 20, 17 are for training, 1 for validation and 2 for the test; by what it says, whatever its
    kind and its casing."""
    digest = hashlib.blake2b(core(value).casefold().encode(), digest_size=8).digest()
    at = int.from_bytes(digest, "big") % 20
    return "train" if at < 17 else "validation" if at == 17 else "test"


@lru_cache(maxsize=1)
def reserved() -> frozenset[str]:
    """Values of the hand-written talks of ``rxt eval open``, which are never drawn but of closed kinds."""
    text = (resources.files("rxt.tasks.open") / "reserved.txt").read_text("utf-8")
    return frozenset(line.casefold() for line in text.splitlines() if line)


def draw(kind: Kind, split: ValueSplit, rng: Random, taken: Collection[str]) -> str | None:
    """A value of the split, or None when none was found; ``taken``: cores, in small letters, that it must not be."""
    for _ in range(_TRIES):
        value = kind.draw(rng)
        plain = core(value).casefold()
        if plain in taken:
            continue
        if kind.closed or (split_of(value) == split and plain not in reserved()):
            return value
    return None
