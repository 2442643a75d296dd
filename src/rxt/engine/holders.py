"""Names of those who hold a conversation, by which others on the same machine see that a process has died."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def holder_name() -> str:
    """``MACHINE/PID/START/RANDOM``; machine and start are empty where the system does not tell them."""
    return f"{_machine()}/{os.getpid()}/{_start(os.getpid())}/{secrets.token_hex(8)}"


def has_died(holder: str) -> bool:
    """Whether the process of this name has certainly died; False where that cannot be seen from here."""
    parts = holder.split("/")
    if len(parts) != 4 or not parts[0] or parts[0] != _machine() or not parts[1].isdigit() or not parts[2]:
        return False
    pid = int(parts[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        pass
    start = _start(pid)
    return bool(start) and start != parts[2]


def _machine() -> str:
    """This boot of the machine and this namespace of process numbers: a container has its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process began, in ticks since the boot, so that a number used again is not mistaken for it; ``dead`` if it
    only waits for its parent to take notice."""
    try:
        state, *others = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return "dead" if state in "ZX" else others[18]
    except (OSError, ValueError, IndexError):
        return ""
