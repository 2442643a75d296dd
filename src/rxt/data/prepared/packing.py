"""Texts packed to rows: where every row begins, found from the lengths of the texts alone."""

from __future__ import annotations

import io
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import IO

import numpy as np
from numpy.typing import NDArray

from rxt.data.markup import Encoded
from rxt.data.prepared.folder import Chosen, PreparedFolder, Split
from rxt.errors import UserError
from rxt.files import write_in_parts


@dataclass(frozen=True)
class PackedRows:
    """Rows of at most ``max_length`` tokens, each of whole texts between [BOS] and [EOS], or of pieces of a long one.

    A row ends where the next piece does not fit. A text that is longer than a row becomes pieces of nearly equal
    length, as ``Template.text`` makes them. No token is lost. The rows follow from folder, split and length.
    """

    folder: PreparedFolder
    split: Split
    max_length: int
    chosen: Chosen
    """The rows of every shard."""
    starts: NDArray[np.uint32]
    """(rows + shards, 2) text and piece that a row begins with; every shard's own end comes after its last row."""

    @classmethod
    def of(cls, folder: PreparedFolder, split: Split, max_length: int) -> PackedRows:
        """The rows of a split. They are written down in the folder, where that can be, and read from there again."""
        path = folder.path / f"rows-{max_length}-{split}.npy"
        if not path.exists():
            with tempfile.TemporaryFile() as parts:
                rows = _write_starts(folder, split, max_length, parts)
                try:
                    write_in_parts(path, partial(_write_array, rows, parts))
                except UserError:  # a folder that may only be read: every start finds the rows again
                    content = io.BytesIO()
                    _write_array(rows, parts, content)
                    content.seek(0)
                    return cls._of(folder, split, max_length, np.load(content))
        return cls._of(folder, split, max_length, np.load(path, mmap_mode="r"))

    @classmethod
    def _of(cls, folder: PreparedFolder, split: Split, max_length: int, stored: NDArray[np.uint32]) -> PackedRows:
        shards = len(folder.notes)
        counts = tuple(int(count) for count in stored[:shards, 0])
        return cls(folder, split, max_length, Chosen(counts), stored[shards:])

    def __len__(self) -> int:
        return self.chosen.total

    def __getitem__(self, number: int) -> Encoded:
        """One row; learned is every token but the [BOS] of each piece."""
        shard, _ = self.chosen.find(number)
        (first, piece), (last, end) = self.starts[number + shard : number + shard + 2].tolist()
        begin = self.folder.template.markup.begin
        told = max(1, len(begin))  # nothing stands before the first token that could predict it
        ids: list[int] = []
        loss: list[bool] = []
        for text in self.folder.documents_between(shard, first, last + bool(end), self.split):
            body = self.folder.shard(shard).text(text)[len(begin) :]
            pieces = piece_bounds(len(body), self.max_length - len(begin))
            for start, stop in pieces[piece if text == first else 0 : end if text == last else None]:
                ids += [*begin, *body[start:stop]]
                loss += [False] * told + [True] * (len(begin) + stop - start - told)
        return Encoded(ids, loss)


def piece_bounds(length: int, most: int) -> list[tuple[int, int]]:
    """Where the pieces, of at most ``most`` tokens, of a text of ``length`` tokens begin and end."""
    pieces = -(-length // most)
    return list(pairwise(length * index // pieces for index in range(pieces + 1)))


def _write_starts(folder: PreparedFolder, split: Split, max_length: int, file: IO[bytes]) -> list[int]:
    """Write the row starts of all shards one after the other, so that no more than one shard's are in memory; how many
    rows each has."""
    rows = list[int]()
    for number in range(len(folder.notes)):
        found = _row_starts(folder, number, split, max_length)
        file.write(found.astype(np.uint32).tobytes())
        rows.append(len(found) - 1)
    return rows


def _write_array(rows: list[int], parts: IO[bytes], file: IO[bytes]) -> None:
    """Write one array, as NumPy stores them: the rows of each shard, and then the ``parts``."""
    shape = (2 * len(rows) + sum(rows), 2)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.write(np.array([[count, 0] for count in rows], np.uint32).tobytes())
    parts.seek(0)
    shutil.copyfileobj(parts, file)


def _row_starts(folder: PreparedFolder, number: int, split: Split, max_length: int) -> NDArray[np.int64]:
    """(rows + 1, 2) text and piece that each row of a shard begins with, and the shard's end."""
    shard, chosen = folder.shard(number), folder.chosen(number, split)
    texts = np.flatnonzero(chosen)
    begin = len(folder.template.markup.begin)
    lengths = np.diff(shard.sequences)[chosen] - begin
    counts = -(-lengths // (max_length - begin))
    text = np.repeat(np.arange(len(texts)), counts)
    piece = np.arange(len(text)) - np.repeat(np.cumsum(counts) - counts, counts)
    bounds = [lengths[text] * (piece + after) // counts[text] for after in (0, 1)]
    ends = np.concatenate([[0], np.cumsum(bounds[1] - bounds[0] + begin)])
    next_row = (np.searchsorted(ends, ends[:-1] + max_length, side="right") - 1).tolist()
    starts, position = list[int](), 0
    while position < len(text):
        starts.append(position)
        position = next_row[position]
    found = np.stack([texts[text[starts]], piece[starts]], axis=1)
    return np.concatenate([found, [[len(chosen), 0]]])
