"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from rxt.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder (made if need be), flush to disk, rename: no reader sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
