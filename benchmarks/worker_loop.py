"""What both sides of a comparison share: a process that is told what to do, one line of JSON at a time, and tells how
long it took.

Needs Python alone, so it runs in every environment; where PyTorch is, it is given its threads and a seed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """What is timed: numbers of tokens, rows and turns."""

    prompt_tokens: int
    new_tokens: int
    rows: int
    """Of a joint step; conversations of a memory-aware one."""
    turns: int
    tokens: int
    """Of a row, and of the interaction that is memorized."""


def clock(kind: str) -> Callable[[], float]:
    """Seconds that pass (``wall``), or those in which the processor works for this process (``processor``): with one
    thread the same, but for what other programs on the machine take."""
    return time.process_time if kind == "processor" else time.perf_counter


Action = Callable[[], float]
"""Does it once; the result is what is reported: seconds, or tokens a second."""


def serve(make: Callable[[dict[str, Any], Sizes], dict[str, Action]]) -> None:
    """The first line gives threads, preset and sizes; each further one names an action. Every line is answered by one
    number.

    Frameworks may print what they like: answers begin with ``result``.
    """
    first = json.loads(sys.stdin.readline())
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(first["threads"])
        torch.manual_seed(0)
    actions = make(first["config"], Sizes(**first["sizes"]))
    print("result 0", flush=True)
    for line in sys.stdin:
        print(f"result {actions[line.strip()]()}", flush=True)
