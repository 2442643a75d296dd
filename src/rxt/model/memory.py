"""Short-term memory as a value: it goes into a function and a new one comes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from rxt.config import MemoryInit
from rxt.errors import UserError
from rxt.files import write_atomically

FORMAT = "rxt-memory-1"
LARGEST_FILE = 2**33
"""Bytes of a memory that is read from a file, with what the file left out."""


@dataclass(frozen=True, eq=False)
class Memory:
    """The memory of B conversations after some turns."""

    slots: Tensor
    """(L, B, S, D): S slots for each layer that has memory."""
    turns: tuple[int, ...] = ()
    """Interactions memorized so far, one count a conversation; zeros when not given."""
    fingerprint: str | None = None
    """Of the weights that made it; None when not known, which every model accepts."""

    def __post_init__(self) -> None:
        if self.slots.dim() != 4:
            raise UserError(f"a memory has shape (L, B, S, D), found {tuple(self.slots.shape)}")
        if not self.turns:
            object.__setattr__(self, "turns", (0,) * self.slots.shape[1])
        if len(self.turns) != self.slots.shape[1]:
            raise UserError(
                f"a memory of {self.slots.shape[1]} conversations needs as many turn counts, found {len(self.turns)}"
            )

    def check_fits(self, shape: tuple[int, int, int], batch_size: int | None = None) -> None:
        """Refuse a memory that has not ``shape`` (L, S, D), or with ``batch_size`` not so many conversations."""
        found = (self.slots.shape[0], self.slots.shape[2], self.slots.shape[3])
        if found != shape:
            raise UserError(f"this model's memory has (L, S, D) = {shape}, found {found}")
        if batch_size is not None and self.batch_size != batch_size:
            raise UserError(f"a memory of {self.batch_size} conversations does not go with the tokens of {batch_size}")

    @property
    def batch_size(self) -> int:
        """B: conversations held."""
        return self.slots.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the slots of all B conversations."""
        return self.slots.nbytes

    def advance(self, slots: Tensor, fingerprint: str | None) -> Memory:
        """The memory after one more interaction of every conversation."""
        return Memory(slots, tuple(turn + 1 for turn in self.turns), fingerprint)

    def detach(self) -> Memory:
        """The same memory without its history of gradients."""
        return replace(self, slots=self.slots.detach())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Memory:
        """The same memory on another device or in another precision."""
        return replace(self, slots=self.slots.to(device=device, dtype=dtype))

    def select(self, conversation: int) -> Memory:
        """The memory of one conversation of the batch, B = 1; ``conversation`` counts from 0."""
        if not 0 <= conversation < self.batch_size:
            raise IndexError(f"this memory holds conversations 0 to {self.batch_size - 1}, not {conversation}")
        return Memory(
            self.slots[:, conversation : conversation + 1],
            self.turns[conversation : conversation + 1],
            self.fingerprint,
        )

    def first(self, conversations: int) -> Memory:
        """The memory of the first conversations of the batch."""
        return Memory(self.slots[:, :conversations], self.turns[:conversations], self.fingerprint)

    def take(self, conversations: Sequence[int]) -> Memory:
        """The memories of some conversations of the batch, in this order."""
        return Memory(
            self.slots[:, list(conversations)], tuple(self.turns[index] for index in conversations), self.fingerprint
        )

    def rolled(self) -> Memory:
        """Every conversation with the memory of the one before it in the batch: a control for experiments."""
        return self.take([index - 1 for index in range(self.batch_size)])

    @staticmethod
    def stack(memories: Sequence[Memory]) -> Memory:
        """One batch of several memories, in order. They must have been made by the same weights."""
        if not memories:
            raise ValueError("stack needs at least one memory")
        shapes = {(memory.slots.shape[0], *memory.slots.shape[2:]) for memory in memories}
        if len(shapes) != 1:
            raise UserError(f"memories of different shapes cannot share a batch: (L, S, D) = {sorted(shapes)}")
        fingerprints = {memory.fingerprint for memory in memories}
        if len(fingerprints) != 1:
            raise UserError(
                f"memories of different models cannot share a batch: fingerprints {sorted(map(str, fingerprints))}"
            )
        turns = tuple(turn for memory in memories for turn in memory.turns)
        return Memory(torch.cat([memory.slots for memory in memories], dim=1), turns, fingerprints.pop())

    def save(self, path: str | Path) -> None:
        """Write a safetensors file: to a temporary name first, then renamed, so a reader never sees half of it."""
        write_atomically(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that :meth:`save` writes. Zeros at the end of the slots are left out: a queue of
        interactions grows until it is full."""
        slots = self.slots.detach().cpu()
        metadata = {
            "format": FORMAT,
            "turns": " ".join(map(str, self.turns)),
            "fingerprint": self.fingerprint or "",
            "slots": str(slots.shape[2]),
        }
        return save({"slots": slots[:, :, : max(1, used_slots(slots))].contiguous()}, metadata)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "memory") -> Memory:
        """What :meth:`to_bytes` made; anything else is an error that says what was found. ``name``: of it, in the
        message."""
        try:
            slots = load(content)["slots"]  # first: it checks the header that is read below
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
            if metadata.get("format") != FORMAT:
                raise UserError(f"{name}: not a memory (format {metadata.get('format')!r}, expected {FORMAT!r})")
            return cls._read(slots, metadata)
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{name}: not a memory ({error})") from None

    @classmethod
    def _read(cls, slots: Tensor, metadata: dict[str, str]) -> Memory:
        """What a file's slots and metadata say."""
        turns = tuple(int(turn) for turn in metadata["turns"].split())
        read = cls(slots, turns, metadata["fingerprint"] or None)
        found = slots.shape[2]
        said = int(metadata.get("slots", found))
        left_out = said - found
        if left_out < 0 or slots.nbytes * said > LARGEST_FILE * found:
            raise ValueError(f"it has {found} slots and says {said}")
        return replace(read, slots=F.pad(slots, (0, 0, 0, left_out)))

    @classmethod
    def load(cls, path: str | Path) -> Memory:
        """Read a file that :meth:`save` wrote; anything else is an error that says what was found."""
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise UserError(
                        f"{path}: not a memory file (format {metadata.get('format')!r}, expected {FORMAT!r})"
                    )
                return cls._read(file.get_tensor("slots"), metadata)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UserError(f"{path}: not a memory file ({error})") from None


def used_slots(slots: Tensor) -> int:
    """How many of the slots (L, B, S, D) there are up to the last one that holds anything, in any layer and
    conversation. The processor waits for the device."""
    used = slots.any(-1).flatten(0, 1).any(0).nonzero()
    return int(used.max()) + 1 if len(used) else 0


def initial_slots(shape: tuple[int, int, int], batch_size: int, init: MemoryInit, seed: int | None) -> Tensor:
    """Fresh slots (L, B, S, D) for ``shape`` (L, S, D). Conversation b of a seeded batch is the same for every B >
    b."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    slots = torch.empty(batch_size, *shape)
    for row in slots:  # one draw a conversation: the numbers of a larger draw depend on its size
        match init:
            case "standard":
                row.normal_(generator=generator)
            case "normal":
                row.normal_(std=0.01, generator=generator)
            case "uniform":
                row.uniform_(0, 0.01, generator=generator)
            case "zeros":
                row.zero_()
            case "ones":
                row.fill_(1)
            case "learned":
                raise ValueError("a learned fresh memory is a weight: the model's init_memory has it")
    return slots.transpose(0, 1).contiguous()
