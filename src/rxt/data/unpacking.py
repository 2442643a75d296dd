"""Packed files: gzip, bzip2 and xz around one file, and zip around several. The first bytes say which."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from rxt.errors import UserError

PACKED_SUFFIXES = (".gz", ".bz2", ".xz")
ZIP_SUFFIX = ".zip"
ZIP_MAGIC = b"PK\x03\x04"
GZIP_MAGIC = b"\x1f\x8b"
STREAMS = {
    GZIP_MAGIC: ("gzip", gzip.GzipFile),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
}
"""First bytes -> name, and how it is read."""
UNPACKERS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}
"""What is told, but not unpacked: name and command."""
TAR, TAR_AT = b"ustar", 257
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Unpacked:
    """A file as it reads when it is unpacked."""

    name: str
    """In messages: with the archive it lies in, ``chats.zip/a.jsonl``."""
    open: Callable[[], IO[bytes]]
    """From its beginning, as often as it is called."""
    packing: str | None = None

    @property
    def bare_name(self) -> str:
        """Without what says that it is packed."""
        suffix = next((each for each in PACKED_SUFFIXES if self.name.endswith(each)), "")
        return self.name.removesuffix(suffix)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Say in one line what is wrong with the file that is read in here: a ``UserError``."""
        try:
            yield
        except DAMAGED as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is None and self.packing is not None:  # as bz2 says that data is no bzip2
                raise self._damaged(error) from None
            raise UserError(f"{self.name}: cannot be read ({error.strerror})") from None
        except RuntimeError as error:
            if "password" not in str(error):
                raise
            raise UserError(f"{self.name}: is encrypted; unpack it") from None

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self.name}: the {self.packing} file is cut off or damaged ({error}); get it again")


def unpacked(path: Path, name: str) -> Iterator[Unpacked]:
    """The file itself, or what is packed in it; of an archive every file but hidden ones.

    Raises:
        UserError: it cannot be read, or is packed in another way.
    """
    plain = Unpacked(name, partial(path.open, "rb"))
    with plain.reading(), plain.open() as stream:
        magic = stream.read(8)
    if magic.startswith(ZIP_MAGIC):
        yield from _members(path, name)
        return
    for begin, (what, command) in UNPACKERS.items():
        if magic.startswith(begin):
            raise UserError(f"{name}: is packed with {what}; unpack it: {command} {name}")
    file = plain
    for begin, (packing, opened) in STREAMS.items():
        if magic.startswith(begin):
            file = Unpacked(name, cast(Callable[[], IO[bytes]], partial(opened, path)), packing)
    with file.reading(), file.open() as stream:
        if stream.read(TAR_AT + len(TAR))[TAR_AT:] == TAR:
            raise UserError(f"{name}: is a tar archive; unpack it: tar xf {name}")
    yield file


def _members(path: Path, name: str) -> Iterator[Unpacked]:
    with Unpacked(name, partial(path.open, "rb"), "zip").reading(), zipfile.ZipFile(path) as archive:
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
    inside = [each for each in sorted(files) if not any(part.startswith((".", "__MACOSX")) for part in each.split("/"))]
    if not inside:
        raise UserError(f"{name}: is a zip archive without a file in it")
    for member in inside:
        yield Unpacked(f"{name}/{member}", partial(_open_member, path, member), "zip")


def _open_member(path: Path, member: str) -> IO[bytes]:
    return zipfile.ZipFile(path).open(member)
