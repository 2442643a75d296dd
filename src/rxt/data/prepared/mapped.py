"""Which shards of prepared folders are mapped: so many bytes of them, however many there are."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from rxt.data.prepared.index import ShardNote
from rxt.data.prepared.shard import Shard

MOST_BYTES = 2**26
"""Of the files of shards that are mapped at once. They take address space, which may be limited, and no memory that is
not given back."""


class Mapped:
    """The shards that were asked for last. A shard that somebody still holds stays mapped for them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._shards: OrderedDict[tuple[Path, str], tuple[Shard, int]] = OrderedDict()

    def shard(self, folder: Path, note: ShardNote) -> Shard:
        """A shard of a folder, mapped."""
        key = folder, note.name
        if key in self._shards:
            self._shards.move_to_end(key)
            return self._shards[key][0]
        size = sum(file.size for file in note.files)
        while self._shards and self._bytes + size > self._most_bytes:
            self._bytes -= self._shards.popitem(last=False)[1][1]
        self._shards[key], self._bytes = (Shard(folder, note.name), size), self._bytes + size
        return self._shards[key][0]
