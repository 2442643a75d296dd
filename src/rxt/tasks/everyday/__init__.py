"""Seeded everyday conversations: what the bundled model learns from and what its memory is tested with.

Every conversation is a pure function of (split, number of turns, seed, index, config), so nothing is stored.
"""

from __future__ import annotations

from rxt.tasks.everyday.generate import (
    EverydayConfig,
    EverydayConversation,
    Question,
    Split,
    corpus_lines,
    generate,
)
from rxt.tasks.everyday.phrases import kinds, values_of
from rxt.tasks.everyday.probes import (
    capacity_conversation,
    changed_conversation,
    long_range_conversation,
    never_told_conversation,
    retention_conversation,
)
from rxt.tasks.everyday.wording import Fact

__all__ = [
    "EverydayConfig",
    "EverydayConversation",
    "Fact",
    "Question",
    "Split",
    "capacity_conversation",
    "changed_conversation",
    "corpus_lines",
    "generate",
    "kinds",
    "long_range_conversation",
    "never_told_conversation",
    "retention_conversation",
    "values_of",
]
