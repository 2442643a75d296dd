"""What a user waits for at first: commands that should be quick, how long they take, and with what.

    python benchmarks/first_use.py [--repeats 5] [--json FILE]

Each command is started once, which does not count, then ``--repeats`` times: medians. ``rxt chat`` runs in a terminal
of its own and ends when it first asks for a message. Parts come from one more start under ``-X importtime``, which
slows imports down a little: what is left over is Python's own start, and what runs after the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

COMMANDS: dict[str, list[str]] = {
    "python": ["-c", "pass"],
    "import rxt": ["-c", "import rxt"],
    "rxt --help": ["-m", "rxt", "--help"],
    "rxt chat --help": ["-m", "rxt", "chat", "--help"],
    "rxt info": ["-m", "rxt", "info"],
    "rxt info rxt-alpha": ["-m", "rxt", "info", "rxt-alpha"],
    "import torch": ["-c", "import torch"],
    "rxt chat": ["-m", "rxt", "chat"],
}
PROMPT = b"\x1b[?2004h"
"""What ``rxt chat`` tells a terminal when it waits for a message (that pasted text is to be marked)."""
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")
"""Microseconds that a module took by itself, and its name."""


@dataclass(frozen=True)
class Start:
    """One command; seconds."""

    command: str
    first: float
    """The first start here: files may not be in the machine's memory yet."""
    later: float
    """The median of the starts after it."""
    torch: float
    """Importing PyTorch and, where it was loaded, its compiler with sympy."""
    others: float
    """Importing other packages and Python's own library."""
    ours: float
    """Importing this project's modules."""


def to_the_end(arguments: Sequence[str], errors: int) -> float:
    """Seconds until a command has ended."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=errors)
    return time.perf_counter() - began


def to_the_prompt(arguments: Sequence[str], errors: int) -> float:
    """Seconds until a command that runs in a terminal waits for a message; it is ended then."""
    ours, its = pty.openpty()
    began, written = time.perf_counter(), b""
    with subprocess.Popen([sys.executable, *arguments], stdin=its, stdout=its, stderr=errors) as process:
        os.close(its)
        while PROMPT not in written:
            written += os.read(ours, 4096)
        seconds = time.perf_counter() - began
        os.write(ours, b"\x04")  # Ctrl-D: it leaves, and with that its imports are all told
        while process.poll() is None:
            try:
                os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        process.wait()
    os.close(ours)
    return seconds


def measure(command: str, repeats: int) -> Start:
    """Start one of ``COMMANDS`` again and again."""
    arguments = COMMANDS[command]
    run = to_the_prompt if command == "rxt chat" else to_the_end
    first, *later = (run(arguments, subprocess.DEVNULL) for _ in range(repeats + 1))
    with tempfile.TemporaryFile("w+") as told:
        run(["-X", "importtime", *arguments], told.fileno())
        told.seek(0)
        imported = [(int(own) / 1e6, name.split(".")[0]) for own, name in IMPORTED.findall(told.read())]
    torch = sum(own for own, package in imported if package in ("torch", "sympy", "mpmath"))
    ours = sum(own for own, package in imported if package == "rxt")
    return Start(command, first, median(later), torch, sum(own for own, _ in imported) - torch - ours, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        "| | first start | later | PyTorch | other packages | own modules | the rest |\n|---|---|---|---|---|---|---|"
    )
    found = list[Start]()
    for command in COMMANDS:
        start = measure(command, options.repeats)
        found.append(start)
        rest = max(0.0, start.later - start.torch - start.others - start.ours)
        parts = (start.first, start.later, start.torch, start.others, start.ours, rest)
        print(f"| `{command}` | {' | '.join(f'{seconds:.2f} s' for seconds in parts)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(start) for start in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
