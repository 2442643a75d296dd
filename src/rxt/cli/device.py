"""``--device``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxt.errors import UserError

if TYPE_CHECKING:
    import torch


def find_device(name: str | None) -> torch.device:
    """The device that ``--device`` names; by default the first GPU when there is one."""
    import torch

    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(chosen)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise UserError(f"--device {chosen}: there is no such device here; use cpu") from None
    return device
