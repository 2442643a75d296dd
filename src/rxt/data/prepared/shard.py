"""One shard: the arrays of some documents, written at once and read by memory map."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rxt.data.markup import Encoded
from rxt.data.prepared.index import ShardFile
from rxt.errors import UserError

Integers = NDArray[np.int64]


class Role(IntEnum):
    """What a sequence of a conversation is."""

    SYSTEM = 0
    LEARNED = 1
    MEMORIZED = 2
    """An interaction whose answer is nothing to learn from."""


class ShardWriter:
    """Collects documents, then writes them as arrays."""

    def __init__(self, vocab_size: int, text: bool) -> None:
        self._text = text
        self._tokens = array("H" if vocab_size <= 2**16 else "I")
        self._loss = bytearray()
        self._sequences, self._documents = array("q", [0]), array("q", [0])
        self._roles = bytearray()
        self._targets = 0
        self.longest = 0

    @property
    def documents(self) -> int:
        return len(self._sequences if self._text else self._documents) - 1

    @property
    def sequences(self) -> int:
        return len(self._sequences) - 1

    @property
    def tokens(self) -> int:
        return len(self._tokens)

    @property
    def targets(self) -> int:
        return self._targets

    def add(self, sequences: Sequence[tuple[Encoded, Role]]) -> None:
        """A conversation, or a text, which is one sequence."""
        for encoded, role in sequences:
            self._tokens.extend(encoded.ids)
            self._sequences.append(len(self._tokens))
            self.longest = max(self.longest, len(encoded.ids))
            self._targets += sum(encoded.loss)
            if not self._text:
                self._loss.extend(encoded.loss)
                self._roles.append(role)
        self._documents.append(len(self._sequences) - 1)

    def write(self, folder: Path, name: str) -> tuple[ShardFile, ...]:
        """The arrays as files, flushed to the disk."""
        arrays = {"tokens": np.asarray(self._tokens), "sequences": np.asarray(self._sequences)}
        if not self._text:
            arrays["roles"] = np.frombuffer(self._roles, np.uint8)
            arrays["documents"] = np.asarray(self._documents)
            arrays["loss"] = np.packbits(np.frombuffer(self._loss, np.uint8))
        return tuple(_save(folder / f"{name}-{part}.npy", values) for part, values in arrays.items())


def _save(path: Path, values: NDArray[np.generic]) -> ShardFile:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())
    sha256 = file_sha256(temporary)
    os.replace(temporary, path)
    return ShardFile(path.name, path.stat().st_size, sha256)


def file_sha256(path: Path) -> str:
    """Of the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Shard:
    """A shard on the disk; its arrays are mapped when they are asked for."""

    folder: Path
    name: str

    @cached_property
    def tokens(self) -> NDArray[np.unsignedinteger]:
        """(N,)"""
        return self._map("tokens")

    @cached_property
    def sequences(self) -> Integers:
        """(Q + 1,) where each sequence begins in the tokens."""
        return self._map("sequences")

    @cached_property
    def documents(self) -> Integers:
        """(C + 1,) where each conversation begins in the sequences."""
        return self._map("documents")

    @cached_property
    def roles(self) -> NDArray[np.uint8]:
        """(Q,) by ``Role``."""
        return self._map("roles")

    @cached_property
    def loss(self) -> NDArray[np.uint8]:
        """(⌈N / 8⌉,)"""
        return self._map("loss")

    def sequence(self, number: int) -> Encoded:
        """An interaction or a system prompt, whole."""
        start, end = (int(bound) for bound in self.sequences[number : number + 2])
        bits = np.unpackbits(self.loss[start // 8 : -(-end // 8)])[start % 8 :][: end - start]
        return Encoded(self.tokens[start:end].tolist(), bits.astype(bool).tolist())

    def text(self, number: int) -> list[int]:
        """A text, from its [BOS] to its [EOS]."""
        start, end = (int(bound) for bound in self.sequences[number : number + 2])
        return self.tokens[start:end].tolist()

    @cached_property
    def systems(self) -> NDArray[np.bool_]:
        """(C,) which conversations begin with a system prompt."""
        return self.roles[self.documents[:-1]] == Role.SYSTEM

    @cached_property
    def turns(self) -> Integers:
        """(C,) interactions of each conversation."""
        return np.diff(self.documents) - self.systems

    def _map(self, part: str) -> NDArray:
        path = self.folder / f"{self.name}-{part}.npy"
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); prepare the folder again") from None
