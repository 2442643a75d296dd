"""A memory in fragments as a value: what is resident, and fragments of which a turn sees a few (Mixture-of-Memory).

Fragments: F. Slots: S_r resident ones, S_f of a fragment, S = S_r + k·S_f that a turn sees. Width of a key: D_k.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.files import read_bytes, write_atomically
from rxt.model.memory import Memory
from rxt.model.pool_keys import KeyTable

FORMAT = "rxt-pool-1"


@dataclass(frozen=True, eq=False)
class Fragment:
    """A part of a conversation's memory."""

    slots: Tensor
    """(L, S_f, D)"""
    turn: int = 0
    """Of its last change, counted from 1."""
    writes: int = 0
    """Interactions written into it; 0: it is fresh."""
    change: float = 0.0
    """Mean change of its numbers by the last of them, as a part of their mean size before: how far its gates open."""

    def is_full(self, config: PoolConfig) -> bool:
        """Whether the next interaction that would go into it needs another one."""
        counted = config.most_writes is not None and self.writes >= config.most_writes
        return self.writes > 0 and (counted or self.change < config.full_below)


@dataclass(frozen=True, eq=False)
class Pool:
    """The memory of one conversation: resident slots, and any number of fragments.

    A turn returns a new pool. The fragments that it did not write into are the very same objects in both.
    """

    resident: Tensor
    """(L, S_r, D): seen by every turn."""
    fresh: Tensor
    """(L, S_f, D): what a new fragment starts from."""
    fragments: tuple[Fragment, ...]
    keys: KeyTable
    """(F, D_k): what each fragment is found by, its sum over what was written; zeros where nothing was."""
    turns: int = 0
    """Interactions memorized so far."""
    fingerprint: str | None = None
    """Of the weights that made it; None when not known, which every model accepts."""
    sealed: int = 0
    """The first so many fragments are knowledge: turns see them, and write into none of them."""

    def __post_init__(self) -> None:
        for name, slots in (("resident", self.resident), ("fresh", self.fresh)):
            if slots.dim() != 3:
                raise UserError(f"a pool's {name} slots have shape (L, S, D), found {tuple(slots.shape)}")
        if len(self.keys) != len(self.fragments):
            raise UserError(
                f"a pool of {len(self.fragments)} fragments has keys (F, D_k), one for each, found {self.keys.shape}"
            )
        if not 0 <= self.sealed <= len(self.fragments):
            raise UserError(f"a pool of {len(self.fragments)} fragments cannot have {self.sealed} of knowledge")

    @classmethod
    def split(cls, memory: Memory, config: PoolConfig) -> Pool:
        """The memory of one conversation (B = 1) that has not begun, as a pool of k fragments; new ones start as the
        last of them does.

        Raises:
            UserError: the memory has several conversations, or fewer slots than k fragments have.
        """
        if memory.batch_size != 1:
            raise UserError(
                f"a pool is the memory of one conversation, found {memory.batch_size}; memory.select(i) takes one"
            )
        slots = memory.slots[:, 0]  # (L, S, D)
        config.check_fits(slots.shape[1])
        resident, *parts = slots.split(
            [config.resident_slots(slots.shape[1]), *[config.fragment_slots] * config.chosen], dim=1
        )
        keys = KeyTable.of(slots.new_zeros(config.chosen, config.key_width))
        return cls(resident, parts[-1], tuple(map(Fragment, parts)), keys, memory.turns[0], memory.fingerprint)

    def as_knowledge(self) -> Pool:
        """What has been written of it, for conversations to begin with, none of which changes it."""
        kept = [index for index, fragment in enumerate(self.fragments) if fragment.writes]
        fragments = tuple(replace(self.fragments[index], turn=0) for index in kept)
        return replace(self, fragments=fragments, keys=KeyTable.of(self.keys.rows(kept)), turns=0, sealed=len(kept))

    def knowing(self, knowledge: Pool) -> Pool:
        """The same with the fragments of ``knowledge`` before its own, which are read alone.

        Raises:
            UserError: other weights made it.
        """
        if self.sealed:
            raise ValueError("this pool has its knowledge already")
        if knowledge.fingerprint != self.fingerprint or knowledge.fresh.shape != self.fresh.shape:
            raise UserError(
                f"the knowledge was made by other weights ({knowledge.fingerprint}), not {self.fingerprint}"
            )
        known = knowledge.to(self.resident.device, self.resident.dtype).as_knowledge()
        keys = KeyTable.of(torch.cat([known.keys.whole(), self.keys.whole()]))
        return replace(self, fragments=known.fragments + self.fragments, keys=keys, sealed=known.sealed)

    def sharing(self, other: Pool) -> Pool:
        """The same with all fragments of ``other`` in the place of its own: what it knows and what is resident stay.
        Turns are those of ``other``, because its fragments count by them.

        Raises:
            UserError: other weights made one of the two.
        """
        if other.fingerprint != self.fingerprint or other.fresh.shape != self.fresh.shape:
            raise UserError(
                f"a pool made by {other.fingerprint} does not share fragments with one of {self.fingerprint}"
            )
        fragments = self.fragments[: self.sealed] + other.fragments[other.sealed :]
        if (self.sealed, other.sealed) == (0, 0):
            keys = other.keys  # nothing is known: no copy
        else:
            own, others = self.keys.whole()[: self.sealed], other.keys.whole()[other.sealed :]
            keys = KeyTable.of(torch.cat([own, others]))
        return replace(self, fragments=fragments, keys=keys, turns=other.turns)

    def fragment(self, index: int) -> Fragment:
        """Fragment 0 … F − 1; F: the one that would be opened next."""
        return Fragment(self.fresh) if index == len(self.fragments) else self.fragments[index]

    def active(self, chosen: Sequence[int]) -> Memory:
        """What a turn sees: the resident slots and those of the ``chosen`` fragments, the oldest first, as a memory
        (B = 1)."""
        parts = [self.resident, *(self.fragment(index).slots for index in sorted(chosen))]
        return Memory(torch.cat(parts, dim=1)[:, None], (self.turns,), self.fingerprint)

    def write(
        self, chosen: Sequence[int], slots: Tensor, key: Tensor, key_decay: float, fingerprint: str | None
    ) -> Pool:
        """The pool after one more interaction: ``slots`` (L, S, D) in the place of what :meth:`active` gave for
        ``chosen``, and ``key`` (D_k,) added to theirs. Where F is among them, a fragment is opened; knowledge stays as
        it is."""
        places, count = sorted(chosen), len(self.fragments)
        size, turn = self.fresh.shape[1], self.turns + 1
        resident, *parts = slots.split([self.resident.shape[1], *[size] * len(places)], dim=1)
        before = torch.stack([self.fragment(index).slots for index in places]).detach()  # (k, L, S_f, D)
        after = torch.stack(parts).detach()
        change = (after - before).abs().mean((1, 2, 3)) / before.abs().mean((1, 2, 3)).clamp(min=1e-8)
        fragments = list(self.fragments)
        if count in places:
            fragments.append(self.fragment(count))
        for index, part, moved in zip(places, parts, change.tolist(), strict=True):
            if index < self.sealed:
                continue
            fragments[index] = Fragment(part.contiguous(), turn, fragments[index].writes + 1, moved)
        keys = self.keys.written([index for index in places if index >= self.sealed], key, key_decay)
        return Pool(resident.contiguous(), self.fresh, tuple(fragments), keys, turn, fingerprint, self.sealed)

    def changed_since(self, older: Pool) -> tuple[int, ...]:
        """Indices of the fragments that are not those of ``older``, a pool that this one came from: what a store has to
        write."""
        known = older.fragments
        return tuple(
            index
            for index, fragment in enumerate(self.fragments)
            if index >= len(known) or fragment is not known[index]
        )

    def rounded(self, fragments: Collection[int]) -> Pool:
        """The same, with the numbers of the resident slots and of these fragments rounded to half precision, so that
        they can be kept in half the space and stay what they are."""

        def one(fragment: Fragment) -> Fragment:
            return replace(fragment, slots=fragment.slots.half().to(fragment.slots.dtype))

        made = list(self.fragments)
        for index in fragments:
            made[index] = one(made[index])
        return replace(self, resident=self.resident.half().to(self.resident.dtype), fragments=tuple(made))

    def uncounted(self) -> Pool:
        """The same, where what was memorized last is no turn of its own: a system prompt, a part of a message."""
        fragments = tuple(
            replace(fragment, turn=self.turns - 1) if fragment.turn == self.turns and index >= self.sealed else fragment
            for index, fragment in enumerate(self.fragments)
        )
        return replace(self, turns=self.turns - 1, fragments=fragments)

    @property
    def nbytes(self) -> int:
        """Bytes of all slots and keys."""
        slots = self.resident.nbytes + (1 + len(self.fragments)) * self.fresh.nbytes
        return slots + self.keys.nbytes

    def detach(self) -> Pool:
        """The same pool without its history of gradients."""
        fragments = tuple(replace(fragment, slots=fragment.slots.detach()) for fragment in self.fragments)
        return replace(
            self,
            resident=self.resident.detach(),
            fresh=self.fresh.detach(),
            fragments=fragments,
            keys=self.keys.detach(),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Pool:
        """The same pool on another device or in another precision. Fragments that are so already stay the same
        objects."""

        def moved(fragment: Fragment) -> Fragment:
            slots = fragment.slots.to(device=device, dtype=dtype)
            return fragment if slots is fragment.slots else replace(fragment, slots=slots)

        return replace(
            self,
            resident=self.resident.to(device=device, dtype=dtype),
            fresh=self.fresh.to(device=device, dtype=dtype),
            fragments=tuple(map(moved, self.fragments)),
            keys=self.keys.to(device=device, dtype=dtype),
        )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        write_atomically(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that :meth:`save` writes."""
        tensors = {
            "resident": self.resident,
            "fresh": self.fresh,
            "fragments": torch.stack([fragment.slots for fragment in self.fragments]),  # (F, L, S_f, D)
            "keys": self.keys.whole(),
            "fragment_turns": torch.tensor([fragment.turn for fragment in self.fragments]),
            "fragment_writes": torch.tensor([fragment.writes for fragment in self.fragments]),
            "fragment_changes": torch.tensor([fragment.change for fragment in self.fragments], dtype=torch.float64),
        }
        metadata = {"format": FORMAT, "turns": str(self.turns), "fingerprint": self.fingerprint or ""}
        if self.sealed:
            metadata["sealed"] = str(self.sealed)
        return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "pool") -> Pool:
        """What :meth:`to_bytes` made; anything else is an error that says what was found. ``name``: of it, in the
        message."""
        try:
            tensors = load(content)  # first: it checks the header that is read below
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
            if metadata.get("format") != FORMAT:
                raise UserError(f"{name}: not a pool (format {metadata.get('format')!r}, expected {FORMAT!r})")
            fragments = tuple(
                Fragment(slots, turn, writes, change)
                for slots, turn, writes, change in zip(
                    tensors["fragments"].unbind(),
                    tensors["fragment_turns"].tolist(),
                    tensors["fragment_writes"].tolist(),
                    tensors["fragment_changes"].tolist(),
                    strict=True,
                )
            )
            return cls(
                tensors["resident"],
                tensors["fresh"],
                fragments,
                KeyTable.of(tensors["keys"]),
                int(metadata["turns"]),
                metadata["fingerprint"] or None,
                int(metadata.get("sealed", 0)),
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{name}: not a pool ({error})") from None

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """Read a file that :meth:`save` wrote; anything else is an error that says what was found."""
        return cls.from_bytes(read_bytes(Path(path)), str(path))


def memory_of(content: bytes, name: str = "memory") -> Memory | Pool:
    """What ``Memory.to_bytes`` or ``Pool.to_bytes`` made: the content says which; ``name``: of it, in errors."""
    length = int.from_bytes(content[:8], "little")
    try:
        pool = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("format") == FORMAT
    except (ValueError, AttributeError, RecursionError):
        pool = False  # the error is told by the reader of memories
    return Pool.from_bytes(content, name) if pool else Memory.from_bytes(content, name)


def load_memory(path: str | Path) -> Memory | Pool:
    """Read what ``Memory.save`` or ``Pool.save`` wrote: the file says which."""
    try:
        with safe_open(str(path), framework="pt") as file:
            pool = (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        pool = False  # the error is told by the reader of memories
    return Pool.load(path) if pool else Memory.load(path)
