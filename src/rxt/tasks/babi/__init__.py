"""The bAbI question-answering tasks, told as conversations."""

from rxt.tasks.babi.stories import (
    OKAY,
    BabiConfig,
    Line,
    Split,
    Story,
    TaskShare,
    babi_files,
    read_split,
    read_stories,
)

__all__ = [
    "OKAY",
    "BabiConfig",
    "Line",
    "Split",
    "Story",
    "TaskShare",
    "babi_files",
    "read_split",
    "read_stories",
]
