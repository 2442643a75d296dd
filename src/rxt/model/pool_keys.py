"""What the fragments of a pool are found by: a table of keys that changes in a few rows and is searched as a whole.

F fragments, D_k numbers of a key. The table is kept in parts of :data:`PART` rows, so that a turn copies the part it
writes into and not all of F·D_k numbers; the others are shared with the table before. Lengths are kept, as comparing
with every key needs them and a turn changes few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.errors import UserError

PART = 1024
"""Rows of a part; the last one may have fewer."""


@dataclass(frozen=True, eq=False)
class KeyTable:
    """Keys (F, D_k), a value: :meth:`written` returns another table."""

    parts: tuple[Tensor, ...]
    """Each (≤ PART, D_k)."""
    lengths: Tensor
    """(F,): the Euclidean lengths of all rows."""

    @classmethod
    def of(cls, keys: Tensor) -> KeyTable:
        """Of one tensor (F, D_k); ``UserError`` for another shape."""
        if keys.dim() != 2:
            raise UserError(f"keys of fragments have shape (F, D_k), found {tuple(keys.shape)}")
        return cls(keys.split(PART), torch.linalg.vector_norm(keys, dim=-1))

    def __len__(self) -> int:
        return len(self.lengths)

    def whole(self) -> Tensor:
        """(F, D_k)"""
        return self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)

    @property
    def shape(self) -> tuple[int, int]:
        """F and D_k."""
        return len(self), self.parts[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys; their lengths are not kept in files."""
        return sum(part.nbytes for part in self.parts)

    def row(self, index: int) -> Tensor:
        """(D_k,)"""
        return self.parts[index // PART][index % PART]

    def rows(self, indices: Sequence[int] | slice) -> Tensor:
        """Several keys (N, D_k)."""
        return self.whole()[indices]

    def known(self) -> Tensor:
        """(F,) whether anything was written: whether a key is not zeros."""
        return self.lengths > 0

    def cosines(self, query: Tensor, of_none: float) -> Tensor:
        """(F,): of a unit vector (D_k,) and every key; ``of_none`` where a key is zeros, as nothing was written."""
        products = torch.cat([part @ query for part in self.parts])  # (F,)
        return torch.where(self.lengths > 0, products / self.lengths.clamp(min=1e-12), of_none)

    def detach(self) -> KeyTable:
        """The same without its history of gradients."""
        return KeyTable(tuple(part.detach() for part in self.parts), self.lengths.detach())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> KeyTable:
        """The same on another device or in another precision; itself where it is so already."""
        first = self.parts[0].to(device=device, dtype=dtype)
        return self if first is self.parts[0] else KeyTable.of(self.whole().to(device=device, dtype=dtype))

    def written(self, rows: Collection[int], key: Tensor, decay: float) -> KeyTable:
        """``key`` (D_k,) added to decay × these rows; F among them is a new row, of zeros before."""
        parts, lengths = list(self.parts), self.lengths
        for at, inside in _by_part(row for row in rows if row < len(self)):
            places = torch.tensor(inside, device=key.device)
            new = decay * parts[at][places] + key.to(parts[at].dtype)
            parts[at] = parts[at].index_copy(0, places, new)
            lengths = lengths.index_copy(0, at * PART + places, torch.linalg.vector_norm(new, dim=-1))
        if len(self) in rows:
            new = key.to(parts[-1].dtype)[None]
            if len(parts[-1]) == PART:
                parts.append(new)
            else:
                parts[-1] = torch.cat([parts[-1], new])
            lengths = torch.cat([lengths, torch.linalg.vector_norm(new, dim=-1)])
        return KeyTable(tuple(parts), lengths)


def _by_part(rows: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Which rows of which part."""
    found = defaultdict[int, list[int]](list)
    for row in sorted(rows):
        found[row // PART].append(row % PART)
    return list(found.items())
