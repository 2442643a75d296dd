"""One side of a comparison, in a process of its own: the end that tells it what to do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Worker:
    """A process that does what it is told."""

    def __init__(self, python: str, script: str, first: dict[str, Any]) -> None:
        place = Path(__file__).with_name(script)
        self._process = subprocess.Popen([python, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(json.dumps(first))

    def ask(self, line: str) -> float:
        """One line in, one number out; whatever else it prints is passed over."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        for answer in self._process.stdout:
            if answer.startswith("result "):
                return float(answer.split()[1])
        raise SystemExit(f"{self._process.args}: ended without an answer to {line}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
