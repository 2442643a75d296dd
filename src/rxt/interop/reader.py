"""Reads flat dictionaries of published configurations, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from rxt.errors import UserError

T = TypeVar("T")


class Reader:
    """Takes known keys out of a published dictionary; whatever is left at the end is not known."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self._left = dict(values)
        self.source = source

    def has(self, key: str) -> bool:
        return self._left.get(key) is not None

    def take(self, key: str, default: T) -> T:
        """The value of ``key``, of exactly the default's type; null is the default."""
        value = self._left.pop(key, None)
        if value is None:
            return default
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise UserError(f"{self.source}: {key} must be of type {type(default).__name__}, found {value!r:.60}")
        return value

    def take_optional(self, key: str, example: T) -> T | None:
        """As :meth:`take`, with None for a key that has no value; ``example`` gives the type."""
        return self.take(key, example) if self.has(key) else self._left.pop(key, None)

    def choose(self, key: str, table: Mapping[str, T], default: str) -> T:
        """The meaning of a word that must stand in ``table``."""
        word = self.take(key, default)
        if word not in table:
            raise UserError(f"{self.source}: {key} is {word!r}, which is not known; expected one of {', '.join(table)}")
        return table[word]

    def only(self, key: str, allowed: object) -> None:
        """A key that may be absent, null or ``allowed``: its other values are not supported."""
        value = self._left.pop(key, None)
        if value is not None and value != allowed:
            raise UserError(f"{self.source}: {key} is {value!r:.60}, which is not supported; expected {allowed!r}")

    def ignore(self, *keys: str) -> None:
        """Keys that change nothing in what a trained model computes."""
        for key in keys:
            self._left.pop(key, None)

    def finish(self) -> None:
        """Nothing may be left."""
        for key, value in self._left.items():
            raise UserError(
                f"{self.source}: {key} (found {value!r:.60}) is not a known key of a published configuration"
            )
