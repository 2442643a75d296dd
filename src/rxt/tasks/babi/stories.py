"""The bAbI question-answering tasks (Weston et al. 2015, arXiv 1502.05698): their files, as stories and as
conversations.

A story is numbered lines, and a line 1 begins the next one. Statements are text alone; a question is followed, after
tabs, by its answer and by the lines that support it::

    1 Mary moved to the bathroom.
    2 John went to the hallway.
    3 Where is Mary? <TAB>bathroom<TAB>1

As a conversation, every line is a message. A statement is answered with ``OKAY``, a question with the answer as it
stands in the file (``bathroom``, ``milk,football``, ``n,s``). The supporting lines say how long ago the answer was
told; nothing is learned from them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.data.records import Conversation, Interaction
from rxt.data.unpacking import GZIP_MAGIC
from rxt.errors import UserError

Split = Literal["train", "validation", "test"]
Kind = Literal["train", "valid", "test"]

FILE_NAME = re.compile(r"qa(?P<task>\d+)(_[\w-]+?)?_(?P<kind>train|valid|test)\.txt(\.gz)?")
OKAY = "Okay."
HELD_OUT_EVERY = 20
"""Of a task's training stories, those with the numbers 0, 20, 40 … (in the order of the file) are its validation
part."""


@dataclass(frozen=True)
class Line:
    """A statement, or a question with its answer."""

    text: str
    answer: str | None = None
    """None for a statement."""
    told: int | None = field(default=None, compare=False)
    """Of a question: the last line that supports its answer, counted from 0, where the file names one."""


@dataclass(frozen=True)
class Story:
    """Lines in order, one at least."""

    lines: tuple[Line, ...]

    @property
    def questions(self) -> tuple[int, ...]:
        """Which lines are questions, counted from 0."""
        return tuple(index for index, line in enumerate(self.lines) if line.answer is not None)

    def conversation(self) -> Conversation:
        """The story as it is told in a chat: one interaction a line."""
        return Conversation(
            tuple(Interaction(line.text, OKAY if line.answer is None else line.answer) for line in self.lines)
        )


@dataclass(frozen=True)
class TaskShare:
    """How much of the training a task gets, in lines, compared with a task that is not named."""

    task: int
    share: float

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise UserError(f"recipe: the share of bAbI task {self.task} must be positive, found {self.share}")


@dataclass(frozen=True)
class BabiConfig:
    """How the tasks are mixed, and what of them is learned."""

    shares: tuple[TaskShare, ...] = ()
    """Tasks that get more or less than others, which have a share of 1 each."""
    okay_every: int = 8
    """One in so many of the answers to statements is learned: they are all alike. Answers to questions are all
    learned."""
    folder: str | None = None
    """That of the tasks' files; ``rxt train babi --data DIR`` names it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        if self.okay_every < 1:
            raise UserError(f"recipe: babi.okay_every must be at least 1, found {self.okay_every}")

    def share_of(self, task: int) -> float:
        """The share of a task in the training."""
        return next((each.share for each in self.shares if each.task == task), 1.0)


def read_split(folder: str | Path, split: Split) -> dict[int, tuple[Story, ...]]:
    """The stories of every task that a folder has for a split, by task number, rising.

    ``test`` is the test files. ``validation`` is a task's validation file where there is one, else every 20th story of
    its training file; ``train`` is the rest of that file. Which story belongs where depends on the files alone.

    Raises:
        UserError: there is no such folder, it has no such files, or one of them cannot be read.
    """
    files = babi_files(folder)
    if split == "test":
        return {task: read_stories(kinds["test"]) for task, kinds in files.items() if "test" in kinds}
    stories: dict[int, tuple[Story, ...]] = {}
    for task, kinds in files.items():
        if split == "validation" and "valid" in kinds:
            stories[task] = read_stories(kinds["valid"])
        elif "train" in kinds:
            every, held_out = read_stories(kinds["train"]), split == "validation"
            part = tuple(story for index, story in enumerate(every) if (index % HELD_OUT_EVERY == 0) == held_out)
            stories[task] = every if "valid" in kinds else part
    return {task: found for task, found in stories.items() if found}


def babi_files(folder: str | Path) -> dict[int, Mapping[Kind, Path]]:
    """The files ``qa<N>_<name>_train.txt`` (``_valid``, ``_test``; gzipped or not) of a folder, by task number, rising.

    Raises:
        UserError: there is no such folder, it has none of these files, or two for the same.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that holds the bAbI files qa1_…_train.txt, qa2_…")
    found: dict[int, dict[Kind, Path]] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    for path in paths:
        name = FILE_NAME.fullmatch(path.name)
        if name is None:
            continue
        kinds = found.setdefault(int(name["task"]), {})
        kind: Kind = "train" if name["kind"] == "train" else "valid" if name["kind"] == "valid" else "test"
        if kind in kinds:
            raise UserError(
                f"{folder}: holds task {name['task']} twice, as {kinds[kind].name} and {path.name}; keep one of them"
            )
        kinds[kind] = path
    if not found:
        raise UserError(
            f"{folder}: holds no bAbI files; they are called qa1_…_train.txt, qa1_…_test.txt, with or without .gz"
        )
    return {task: found[task] for task in sorted(found)}


def read_stories(path: str | Path) -> tuple[Story, ...]:
    """Every story of a file, gzipped or not.

    Raises:
        UserError: the file cannot be read or holds no story, or a line is not of the format; the message names the
        line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
        lines = content.decode("utf-8-sig").splitlines()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the gzip file is cut off or damaged ({error}); get it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    stories = tuple(_stories(lines, str(path)))
    if not stories:
        raise UserError(f"{path}: holds no story")
    return stories


def _stories(lines: Iterable[str], name: str) -> Iterable[Story]:
    told: list[Line] = []
    for place, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        number, line = _line(text, f"{name}:{place}")
        if number == 1 and told:
            yield Story(tuple(told))
            told = []
        if number != len(told) + 1:
            expected = f"{len(told) + 1}, or 1 for the next story" if told else "1"
            raise UserError(f"{name}:{place}: the line has the number {number}, expected {expected}")
        told.append(line)
    if told:
        yield Story(tuple(told))


def _line(text: str, place: str) -> tuple[int, Line]:
    said, *rest = text.split("\t")
    number, _, said = said.strip().partition(" ")
    if not (number.isascii() and number.isdigit()):
        raise UserError(f"{place}: a line begins with its number in the story, found {number[:40]!r}")
    if not said.strip():
        raise UserError(f"{place}: there is no text after the number")
    if not rest:
        return int(number), Line(said.strip())
    if not rest[0].strip():
        raise UserError(f"{place}: the question has no answer after its tab")
    support = [int(number) - 1 for number in " ".join(rest[1:]).split() if number.isascii() and number.isdigit()]
    return int(number), Line(said.strip(), rest[0].strip(), max(support, default=None))
