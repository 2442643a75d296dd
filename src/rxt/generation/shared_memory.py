"""Fragments that all conversations of one user share, within one process: what one of them was told, the others
recall."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool, memorize_pools, routed_pools
from rxt.generation.ready import Ready
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer


class SharedMemory:
    """The newest fragments of a user. Conversations that are begun with it look them up and write into them; each keeps
    to itself what is resident, what it knows, and its text.

    Conversations may be in several threads: an answer sees what was memorized when it began, and every turn is written
    into what all turns before it have left.
    """

    def __init__(self, pool: Pool | None = None, file: Path | None = None) -> None:
        """``pool``: to go on from; ``file``: is written after every turn."""
        self._pool, self._file = pool, file
        self._lock = threading.Lock()

    @classmethod
    def in_file(cls, path: str | Path) -> SharedMemory:
        """The fragments in a file, which need not exist yet and is written after every turn; one process at a time can
        use it. ``UserError`` if it is no pool."""
        file = Path(path)
        return cls(Pool.load(file) if file.exists() else None, file)

    @property
    def pool(self) -> Pool | None:
        """All fragments, and what is resident in the conversation that was told last; None before the first turn."""
        with self._lock:
            return self._pool

    def forget(self) -> None:
        """Begin anew, also in the file. A turn that is being memorized is written into the new memory, without what it
        saw of the old one."""
        with self._lock:
            self._pool = None
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def join(self, prepared: Ready) -> SharingPool:
        """A conversation with these fragments.

        Raises:
            UserError: its memory is not in fragments, or other weights made them.
        """
        if not isinstance(prepared, PreparedPool):
            raise UserError("a shared memory needs a model that keeps fragments of memory, and a memory made of them")
        own = SharingPool(prepared.turn, prepared.update, shared=self, begun=prepared.pool)
        return own.newest(self.pool)

    def write(self, seen: SharingPool, model: ReactiveTransformer, interaction: Sequence[int]) -> PreparedPool:
        """The conversation after one more interaction (token ids), written into the newest fragments."""
        with self._lock:
            (new,) = memorize_pools(model, [seen.newest(self._pool).choosing(seen.chosen)], [interaction])
            if self._file is not None:
                new.pool.save(self._file)
            self._pool = new.pool
        return new


@dataclass(frozen=True)
class SharingPool(PreparedPool):
    """What a turn starts from whose conversation shares its fragments."""

    shared: SharedMemory = field(kw_only=True)
    begun: Pool = field(kw_only=True)
    """The conversation's memory as it was without the user's."""

    def newest(self, pool: Pool | None) -> SharingPool:
        """The same conversation, with the fragments of ``pool``; None: where nothing was told yet."""
        own = self.pool.resident
        newest = self.begun if pool is None else pool.to(own.device, own.dtype)
        turned = self._at_rest(self.pool.sharing(newest), len(self.chosen))
        return SharingPool(turned.turn, self.update, shared=self.shared, begun=self.begun)

    def for_query(self, model: ReactiveTransformer, prompt: Sequence[int]) -> PreparedPool:
        return routed_pools(model, [self.newest(self.shared.pool)], [prompt])[0]

    def after(self, model: ReactiveTransformer, interaction: Sequence[int]) -> PreparedPool:
        new = self.shared.write(self, model, interaction)
        return SharingPool(new.turn, new.update, shared=self.shared, begun=self.begun)

    def uncounted(self) -> PreparedPool:
        """Itself: others may have gone on from what was memorized last, so it counts."""
        return self
