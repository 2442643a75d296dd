"""Ctrl-C, or a terminal that is closed, during training: finish the step, save, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What a terminal sends that is closed; Windows has no such signal."""


class Interrupt:
    """Set by the first Ctrl-C, termination or hangup signal; Ctrl-C stops at once then."""

    def __init__(self) -> None:
        self.requested = False
        self._first: int | None = None

    def request(self, number: int, _frame: FrameType | None) -> None:
        """Ask the loop to stop after its step."""
        # the others come twice: a batch system sends them to all processes, whose launcher passes them on; a closed
        # terminal through the shell, and itself. A launcher passes a second Ctrl-C on as SIGTERM.
        if number != HANGUP and self.requested and signal.SIGINT in (number, self._first):
            raise KeyboardInterrupt
        self.requested, self._first = True, self._first or number


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into a request, inside the block. Only a process's main thread can."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    signals = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:  # nohup has it ignored
        signals.append(HANGUP)
    before = [signal.signal(number, interrupt.request) for number in signals]
    try:
        yield interrupt
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
