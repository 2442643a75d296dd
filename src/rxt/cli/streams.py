"""Standard input and output, whatever state they are in: closed, a full disk, an encoding without our characters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import BinaryIO

from rxt.errors import UserError


def standard_input(what: str) -> BinaryIO:
    """The bytes of standard input, where ``what`` is to be read from.

    Raises:
        UserError: it is closed.
    """
    if sys.stdin is None:
        raise UserError(f"standard input is closed, so there are no {what}; leave it open, or give a file: < FILE")
    return sys.stdin.buffer


def make_output_safe() -> None:
    """Output that was closed goes nowhere, and a character that the output's encoding lacks is a question mark."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (open as long as the process)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def discard_output() -> None:
    """What is still buffered must not complain when Python exits."""
    with suppress(OSError):  # standard output that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
