"""Conversations about what people do: who, what, where, when, with whom and why, told in a clause and asked for by any
of its parts."""

from rxt.tasks.deeds.config import DeedsConfig

__all__ = ["DeedsConfig"]
