"""API keys: what one key made does not exist for another."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from rxt.errors import UserError
from rxt.server.errors import Refused

VARIABLE = "RXT_API_KEYS"


class Keys:
    """The keys that are valid; without any, everybody may do everything and is one owner."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._owners = {_digest(key): _digest(key)[:32] for key in keys}

    def __bool__(self) -> bool:
        return bool(self._owners)

    @classmethod
    def read(cls, file: Path | None, variable: str | None) -> Keys:
        """From a file with one key a line (``#`` begins a comment) and from the environment, with commas between.

        Raises:
            UserError: the file cannot be read, it or the variable holds no key (a server that was to ask for keys must
                not run without), or what stands there cannot be sent as one. No message tells a key.
        """
        found: dict[str, str] = {}  # where -> the key
        if variable:
            found |= {f"{VARIABLE}, key {n}": key.strip() for n, key in enumerate(variable.split(","), start=1)}
            if not any(found.values()):
                raise UserError(f"{VARIABLE} is set and holds no key; write keys with commas between, or unset it")
        if file is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"{file}: the keys cannot be read ({error})") from None
            read = {f"{file} line {n}": line.partition("#")[0].strip() for n, line in enumerate(lines, start=1)}
            if not any(read.values()):
                raise UserError(f"{file}: holds no key; write one a line")
            found |= read
        for where, key in found.items():
            if not key.isascii() or len(key.split()) > 1:
                raise UserError(f"{where}: an API key consists of ASCII characters without spaces")
        return cls(key for key in found.values() if key)

    def owner(self, authorization: str | None) -> str:
        """Who sends this header; a key that is not valid is refused."""
        if not self._owners:
            return ""
        scheme, _, key = (authorization or "").partition(" ")
        found = self._owners.get(_digest(key.strip())) if scheme.lower() == "bearer" else None
        if found is None:
            message = (
                "no API key was sent; send the header Authorization: Bearer KEY"
                if authorization is None
                else "this API key is not valid"
            )
            raise Refused(401, message, "invalid_api_key")
        return found


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "replace")).hexdigest()
