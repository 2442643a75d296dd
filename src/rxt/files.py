"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from rxt.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, flush to disk, rename: no reader sees half a file."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_in_parts(path, write)


def write_in_parts(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """As :func:`write_atomically`, for what need not stand in memory as a whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_bytes(path: Path) -> bytes:
    """The whole file; one that cannot be read is an error that says why."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where they are missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made ({error.strerror or error})") from None
    return path
