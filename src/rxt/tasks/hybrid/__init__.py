"""Conversations whose answers take thinking, or a tool, over what was told turns ago."""

from rxt.tasks.hybrid.config import HybridConfig

__all__ = ["HybridConfig"]
