"""Conversations about an open world: what people say of themselves, their people, things, places and plans, with values
that are drawn, not listed."""

from rxt.tasks.open.config import OpenConfig

__all__ = ["OpenConfig"]
