"""What frozen layers make of texts, kept on disk in half precision and read through memory maps.

::

    DIR/FINGERPRINT/
      0.data  0.index  0.lock     what the first process has written: numbers in float16, and where each text's stand
      1.data  …                   another process's: each writes its own files and reads all

A text is kept when it comes for the second time: texts made anew for every batch, which never come again, take no
room. An entry is written before its line in the index, so a process that is killed leaves nothing half-written there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from rxt.data.collate import Rows
from rxt.errors import UserError
from rxt.files import make_folder

HALF = torch.float16
KEY_BYTES = 16
ENTRY = struct.Struct(f"<{KEY_BYTES}sQII")
"""A line of an index: the key, where the entry begins in the data (in numbers), K, and T."""
SEEN_AT_MOST = 2**19
"""Keys of texts that came once; when there are more, all are forgotten."""


@dataclass(frozen=True)
class Entry:
    """Where the numbers (K, T, D) of a text stand."""

    segment: Segment
    start: int
    kinds: int
    length: int


@dataclass(eq=False)
class Segment:
    """The files of one process."""

    data: Path
    index: Path
    width: int
    read: int = 0
    """Bytes of the index that are known."""
    mapped: Tensor = field(default_factory=lambda: torch.empty(0, dtype=HALF))

    @property
    def nbytes(self) -> int:
        """Of the data."""
        return self.data.stat().st_size if self.data.exists() else 0

    def news(self) -> Iterator[tuple[bytes, Entry]]:
        """The entries that were added since the last call, by their keys."""
        if not self.index.exists() or self.index.stat().st_size < self.read + ENTRY.size:
            return
        with open(self.index, "rb") as file:
            file.seek(self.read)
            lines = file.read()
        whole = len(lines) - len(lines) % ENTRY.size  # another process may be writing the next one
        self.read += whole
        self.mapped = torch.from_file(str(self.data), shared=False, size=self.nbytes // HALF.itemsize, dtype=HALF)
        for key, start, kinds, length in ENTRY.iter_unpack(lines[:whole]):
            if start + kinds * length * self.width <= len(self.mapped):  # not so after a power cut
                yield key, Entry(self, start, kinds, length)

    def numbers(self, entry: Entry) -> Tensor:
        """(K, T, D) in half precision."""
        size = entry.kinds * entry.length * self.width
        return self.mapped[entry.start : entry.start + size].view(entry.kinds, entry.length, self.width)


class TextCache:
    """Keeps tensors (K, T, D) of texts of T tokens, each computed from the text alone by weights that never change."""

    def __init__(self, folder: Path, fingerprint: str, width: int, limit: int) -> None:
        """
        Args:
            folder: may be shared by processes, and by runs on several bases.
            fingerprint: of all that the tensors depend on beside the text.
            width: D.
            limit: bytes on disk, of all processes together; what several write at once may go beyond it.

        Raises:
            UserError: the folder cannot be written to.
        """
        self.folder, self.width, self.limit = folder / fingerprint, width, limit
        make_folder(self.folder)
        self._entries: dict[bytes, Entry] = {}
        self._segments: dict[str, Segment] = {}
        self._seen: set[bytes] = set()
        self._lock, name = self._own_name()
        self._own = self._segment(name)
        for path, size in ((self._own.data, HALF.itemsize), (self._own.index, ENTRY.size)):
            with open(path, "ab") as file:  # a killed process may have left a part of one
                file.truncate(file.tell() - file.tell() % size)
        self._look_around()

    def __deepcopy__(self, memo: dict[int, object]) -> TextCache:
        """Itself: it stands for files, which a copy of the model may read and add to as well."""
        return self

    def complete(self, kind: str, rows: Rows, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Tensors (K, R, T, D) of rows: those that are kept, and what ``compute`` makes (K, r, T, D) of the others,
        whose numbers (r,) it is given. All are rounded to half precision, kept or not; what stands at padding means
        nothing."""
        self._look_around()
        lengths = rows.mask.sum(1).tolist()
        keys = [key_of(kind, row[:length]) for row, length in zip(rows.ids.tolist(), lengths, strict=True)]
        kept = [self._entries.get(key) for key in keys]
        missing = [row for row, entry in enumerate(kept) if entry is None]
        if len(missing) == len(keys):
            found = compute(torch.arange(len(keys), device=rows.ids.device)).to(HALF)
        else:
            first = next(entry for entry in kept if entry is not None)
            found = torch.zeros((first.kinds, *rows.ids.shape, self.width), dtype=HALF, device=rows.ids.device)
            for row, entry in enumerate(kept):
                if entry is not None:
                    found[:, row, : entry.length] = entry.segment.numbers(entry)
            if missing:
                index = torch.tensor(missing, device=rows.ids.device)
                found[:, index] = compute(index).to(HALF)
        self._keep({keys[row]: found[:, row, : lengths[row]] for row in missing})
        return found.float()

    @property
    def nbytes(self) -> int:
        """On disk, of all processes."""
        return sum(segment.nbytes for segment in self._segments.values())

    def _keep(self, found: dict[bytes, Tensor]) -> None:
        """Write those that came before, while there is room; numbers too large for half precision are not kept."""
        again = [key for key in found if key in self._seen]
        if len(self._seen) > SEEN_AT_MOST:
            self._seen.clear()
        self._seen.update(found)
        room = self.limit - self.nbytes if again else 0
        lines = list[bytes]()
        with open(self._own.data, "ab") as data:
            for key in again:
                numbers = found[key].cpu().contiguous()
                room -= numbers.nbytes
                if room < 0 or not numbers.isfinite().all():
                    continue
                lines.append(ENTRY.pack(key, data.tell() // HALF.itemsize, *numbers.shape[:2]))
                data.write(numbers.view(torch.uint8).numpy().data)
        if lines:
            with open(self._own.index, "ab") as index:
                index.write(b"".join(lines))

    def _look_around(self) -> None:
        """Take in what has been written since, by other processes too."""
        for path in self.folder.glob("*.index"):
            for key, entry in self._segment(path.stem).news():
                self._entries.setdefault(key, entry)

    def _segment(self, name: str) -> Segment:
        if name not in self._segments:
            paths = self.folder / f"{name}.data", self.folder / f"{name}.index"
            self._segments[name] = Segment(*paths, self.width)
        return self._segments[name]

    def _own_name(self) -> tuple[FileLock, str]:
        """The first files that no living process writes to, held until this object is gone."""
        for number in count():
            lock = FileLock(self.folder / f"{number}.lock", blocking=False)
            try:
                lock.acquire()
            except Timeout:
                continue
            except OSError as error:
                raise UserError(f"{self.folder}: the folder cannot be written to ({error.strerror})") from None
            return lock, str(number)
        raise AssertionError


def key_of(kind: str, ids: list[int]) -> bytes:
    """The name of what is made of a text."""
    text = kind.encode() + b"\0" + struct.pack(f"<{len(ids)}I", *ids)
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()
