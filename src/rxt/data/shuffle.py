"""Shuffled epochs without end that nobody has to remember: where an item comes is computed, not drawn beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

ROUNDS = 6
MASK = 2**64 - 1
MULTIPLIER = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: spreads neighbours far apart."""


def shuffled(count: int, start: int, size: int, salt: str) -> Iterator[int]:
    """Items ``start`` … ``start + size`` of an endless sequence of epochs, in each of which every one of ``count``
    numbers comes once, in an order of its own.

    Takes the same small memory for any ``count``.
    """
    for position in range(start, start + size):
        epoch, index = divmod(position, count)
        yield permuted(index, count, f"{salt} {epoch}")


def permuted(index: int, count: int, salt: str) -> int:
    """Where ``index`` goes in a permutation of ``count`` numbers that the salt chooses.

    A Feistel network permutes the numbers of an even number of bits; what lands beyond ``count`` goes on until it lands
    below (cycle walking), so the numbers below are permuted among themselves.
    """
    keys = _keys(salt)
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    while True:
        left, right = index >> half, index & low
        for key in keys:
            mixed = ((right ^ key) * MULTIPLIER) & MASK
            left, right = right, left ^ ((mixed ^ (mixed >> 29)) * MULTIPLIER & MASK) >> (64 - half)
        index = (left << half) | right
        if index < count:
            return index


@lru_cache(maxsize=64)
def _keys(salt: str) -> tuple[int, ...]:
    digest = hashlib.blake2b(salt.encode(), digest_size=8 * ROUNDS).digest()
    return tuple(int.from_bytes(digest[8 * number : 8 * number + 8], "little") for number in range(ROUNDS))
