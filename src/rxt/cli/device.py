"""``--device``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rxt.errors import UserError

if TYPE_CHECKING:
    import torch


def find_device(name: str | None) -> torch.device:
    """The device that ``--device`` names; by default the first GPU when there is one. Of processes that torchrun has
    started, each gets the GPU of its ``LOCAL_RANK``."""
    import torch

    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen == "cuda" and "LOCAL_RANK" in os.environ:
        chosen = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(chosen)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise UserError(f"--device {chosen}: there is no such device here; use cpu") from None
    return device
