"""What all suites do alike: a progress bar, and JSON that is written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from rxt.files import write_atomically


def progress_bar() -> Progress:
    """On a terminal; elsewhere nothing is drawn."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def write_numbers(path: Path, numbers: Mapping[str, object]) -> None:
    """The figures of a suite as JSON."""
    write_atomically(path, (json.dumps(numbers, indent=2) + "\n").encode())
