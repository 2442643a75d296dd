"""A memory in fragments (Mixture-of-Memory), of which each turn sees a few: ``docs/mixture_of_memory.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config.checks import STRICT, at_least_one, require


@dataclass(frozen=True)
class PoolConfig:
    """How many slots of the S of a memory are fragments chosen for the turn, and how they are chosen. The others are
    resident: every turn sees them."""

    fragment_slots: int
    """S_f: slots of a fragment, in each of the L layers."""
    chosen: int = 1
    """k: fragments that a turn sees."""
    key_width: int = 64
    """D_k: numbers of a fragment's key."""
    new_below: float = 0.3
    """An interaction that is less like every fragment than this (a cosine) gets a fresh one."""
    full_below: float = 0.0
    """A fragment is full when the last interaction changed its slots by less than this part of their size; 0: gates are
    not looked at."""
    most_writes: int | None = None
    """A fragment is full after so many interactions; None: they are not counted."""
    key_decay: float = 1.0
    """What an interaction counts for in the key after one more; 1: all count the same."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("pool", fragment_slots=self.fragment_slots, chosen=self.chosen, key_width=self.key_width)
        require(-1 <= self.new_below <= 1, "pool.new_below", f"must lie in [-1, 1], found {self.new_below}")
        require(self.full_below >= 0, "pool.full_below", f"cannot be negative, found {self.full_below}")
        if self.most_writes is not None:
            at_least_one("pool", most_writes=self.most_writes)
        require(0 <= self.key_decay <= 1, "pool.key_decay", f"must lie in [0, 1], found {self.key_decay}")

    def check_fits(self, slots: int) -> None:
        """The chosen fragments need no more than the S slots of the memory."""
        needed = self.chosen * self.fragment_slots
        require(
            needed <= slots,
            "pool",
            f"has {self.chosen} chosen fragments of {self.fragment_slots} slots, {needed} together, but "
            f"memory_attention.slots is {slots}",
        )

    def resident_slots(self, slots: int) -> int:
        """S_r of the S slots of the memory: those of no fragment."""
        return slots - self.chosen * self.fragment_slots
