"""Memories that are kept at hand, up to a number of bytes."""

from __future__ import annotations

from collections import Counter, OrderedDict

from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready
from rxt.model.pool import Fragment


class KeptMemories:
    """By name; those that were used last stay. A fragment that several pools share counts once."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Ready] = OrderedDict()
        self._fragments: Counter[Fragment] = Counter()
        self.nbytes = 0
        """Of all that is kept."""

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def get(self, name: str) -> Ready | None:
        """The memory of this name, which was used now."""
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
        return found

    def hold(self, name: str, prepared: Ready) -> None:
        """Keep this one; others go where there is no room. The newest stays, however large it is."""
        self.forget(name)
        self._kept[name] = prepared
        self.nbytes += _alone(prepared)
        for fragment in _fragments(prepared):
            self._fragments[fragment] += 1
            if self._fragments[fragment] == 1:
                self.nbytes += fragment.slots.nbytes
        while self.nbytes > self._most_bytes and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))

    def forget(self, name: str) -> None:
        """Nothing happens where it is not kept."""
        found = self._kept.pop(name, None)
        if found is None:
            return
        self.nbytes -= _alone(found)
        for fragment in _fragments(found):
            self._fragments[fragment] -= 1
            if not self._fragments[fragment]:
                del self._fragments[fragment]
                self.nbytes -= fragment.slots.nbytes


def _fragments(prepared: Ready) -> tuple[Fragment, ...]:
    return prepared.pool.fragments if isinstance(prepared, PreparedPool) else ()


def _alone(prepared: Ready) -> int:
    """Bytes of what is no fragment."""
    return prepared.nbytes - sum(fragment.slots.nbytes for fragment in _fragments(prepared))
