"""Memories as the store holds them: of a pool only those fragments are written that it does not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch

from rxt.engine.calls import StoreCalls
from rxt.engine.events import OtherModel
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready, ready
from rxt.model.memory import Memory
from rxt.model.pool import Fragment, Pool, memory_of
from rxt.model.pool_parts import fragment_bytes, head_bytes, is_head, joined
from rxt.model.reactive import ReactiveTransformer
from rxt.store.base import Lacking, Store
from rxt.store.records import Damaged, StoredFragment, memory_checksum


class StoredMemories:
    """Of one store, for one model. Fragments that are there already are known by their objects, which turns share."""

    def __init__(self, model: ReactiveTransformer, store: Store, half: bool, calls: StoreCalls) -> None:
        """``half``: slots are written in half precision."""
        self._model, self._store, self._half, self._calls = model, store, half, calls
        self._names: WeakKeyDictionary[Fragment, str] = WeakKeyDictionary()
        self._fragments: WeakValueDictionary[str, Fragment] = WeakValueDictionary()

    async def put(self, turn: str, prepared: Ready) -> None:
        """Write the memory after a turn down.

        Raises:
            StoreFailed: it could not be written.
        """
        if isinstance(prepared, PreparedPool):
            await self._calls(self._put_pool, turn, prepared.pool)
        else:
            await self._calls(self._store.memorize, turn, self._plain(prepared.memory))

    def _put_pool(self, turn: str, pool: Pool) -> None:
        names = [self._names.get(fragment) for fragment in pool.fragments]
        try:
            self._write(turn, pool, names)
        except Lacking:  # the turns that had them were forgotten meanwhile
            self._write(turn, pool, [None] * len(names))

    def _write(self, turn: str, pool: Pool, names: Sequence[str | None]) -> None:
        """``names``: of fragments that the store should have, None where it does not."""
        new = {
            index: StoredFragment.of(fragment_bytes(pool, index, self._half))
            for index, name in enumerate(names)
            if name is None
        }
        whole = [new[index].name if name is None else name for index, name in enumerate(names)]
        self._store.memorize(turn, head_bytes(pool, self._half), whole, list(new.values()))
        for index, one in new.items():
            self._know(one.name, pool.fragments[index])

    async def get(self, turn: str) -> Ready | None:
        """The memory after a turn; None if the store has none.

        Raises:
            OtherModel: other weights made it.
            Damaged: the store holds something else than was written.
        """
        return await self._calls(self._get, turn)

    def _get(self, turn: str) -> Ready | None:
        content = self._store.memory(turn)
        if content is None:
            return None
        try:
            if not is_head(content):
                return self._checked(memory_of(content, turn), turn)
            fragments = self._store.fragments(turn)
            prepared = self._checked(joined(content, [one.content for one in fragments], turn), turn)
        except (OtherModel, Damaged):
            raise
        except UserError as error:
            raise Damaged(str(error)) from None
        assert isinstance(prepared, PreparedPool)
        return self._shared(prepared, [one.name for one in fragments])

    def copy_fragments(self, turn: str, to: str) -> None:
        """Give a turn in which nothing was said the fragments that another one has, and nothing else of its memory,
        whichever model made it. ``Damaged`` if there is none."""
        content = self._store.memory(turn)
        if content is None:
            raise Damaged(f"{turn}: its memory is not in the store")
        fragments = self._store.fragments(turn)
        pool = joined(content, [one.content for one in fragments], turn)
        alone = replace(pool, resident=torch.zeros_like(pool.resident))
        self._store.memorize(to, head_bytes(alone), [one.name for one in fragments])

    def brought(self, content: bytes, name: str) -> Ready:
        """A memory that a client brought, as a file. ``OtherModel`` or another ``UserError`` if it is not this
        model's."""
        return self._checked(memory_of(content, name), name)

    def file(self, prepared: Ready) -> bytes:
        """A whole memory, as a file to bring again."""
        if isinstance(prepared, PreparedPool):
            pool = prepared.pool
            return (pool.rounded(range(len(pool.fragments))) if self._half else pool).to_bytes()
        return self._plain(prepared.memory)

    def _plain(self, memory: Memory) -> bytes:
        return (replace(memory, slots=memory.slots.half()) if self._half else memory).to_bytes()

    def _checked(self, memory: Memory | Pool, name: str) -> Ready:
        if memory.fingerprint != self._model.fingerprint():
            raise OtherModel(name, str(memory.fingerprint), self._model.fingerprint())
        return ready(self._model, memory)

    def _shared(self, prepared: PreparedPool, names: Sequence[str]) -> PreparedPool:
        """With the objects of fragments that are known, so that pools share what is the same."""
        fragments = list[Fragment]()
        for name, fragment in zip(names, prepared.pool.fragments, strict=True):
            known = self._fragments.get(name)
            if known is None:
                self._know(name, fragment)
            fragments.append(fragment if known is None else known)
        return PreparedPool(replace(prepared.turn, pool=replace(prepared.pool, fragments=tuple(fragments))))

    def _know(self, name: str, fragment: Fragment) -> None:
        self._names[fragment] = name
        self._fragments[name] = fragment


def name_of(pool: Pool) -> str:
    """Stands for all fragments of a pool: their checksums'."""
    names = [memory_checksum(fragment_bytes(pool, index)) for index in range(len(pool.fragments))]
    return memory_checksum(" ".join(names).encode())


def memory_file(store: Store, turn: str) -> bytes | None:
    """The memory that a store has after a turn, as a file that ``rxt chat --memory`` reads, whichever model made it;
    None if there is none. ``Damaged`` if it is not what was written."""
    content = store.memory(turn)
    if content is None or not is_head(content):
        return content
    return joined(content, [one.content for one in store.fragments(turn)], turn).to_bytes()
