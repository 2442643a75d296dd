"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

CONFIGURATION = "configuration: "
"""Opens what is wrong with a configuration that is not known to come from a file."""


class UserError(Exception):
    """A mistake the user can mend: one line that says what was found and what to do.

    The command line prints the message and exits with code 2; library callers catch it like any exception.
    """


@contextmanager
def in_file(path: str) -> Iterator[None]:
    """What is wrong with a configuration made in here is told of the file that it was read from."""
    try:
        yield
    except UserError as error:
        if not str(error).startswith(CONFIGURATION):
            raise
        raise UserError(f"{path}: {str(error).removeprefix(CONFIGURATION)}") from None
