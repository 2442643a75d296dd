"""Short talks as people type them, each with questions and expressions that judge their answers; never trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, cast, get_args

from rxt.data.asked import UNKNOWN
from rxt.errors import UserError
from rxt.evaluation.invention import invented_words
from rxt.files import read_bytes

Kind = Literal["told", "changed", "never_told"]


@dataclass(frozen=True)
class Question:
    """A question of a talk and how its answer is judged."""

    text: str
    kind: Kind
    must: re.Pattern[str]
    answer: str
    """A right answer, to test the expressions with."""
    told_in: int | None = None
    """The message, counted from 1, that said it; none for what was never told."""
    must_not: re.Pattern[str] | None = None

    def right(self, answer: str) -> bool:
        """Whether the answer holds what it must, and nothing that it must not."""
        return bool(self.must.search(answer)) and not (self.must_not and self.must_not.search(answer))


@dataclass(frozen=True)
class Talk:
    """What a person types, message by message; some messages are questions whose answers are judged."""

    name: str
    messages: tuple[str | Question, ...]
    values: tuple[str, ...]
    """The values that the messages say, as they would be written with care."""

    @property
    def questions(self) -> tuple[tuple[int, Question], ...]:
        """Each judged question with its place among the messages, counted from 1."""
        return tuple((place, m) for place, m in enumerate(self.messages, start=1) if isinstance(m, Question))

    def distance(self, place: int) -> int | None:
        """How many turns before the question at ``place`` its answer was told."""
        question = self.messages[place - 1]
        if not isinstance(question, Question) or question.told_in is None:
            return None
        return place - question.told_in

    def invented(self, place: int, answer: str) -> tuple[str, ...]:
        """The words of an answer to the question at ``place`` that nobody has said; none where it is right.

        Whoever says rightly that something is not known may still invent something beside it.
        """
        question = self.messages[place - 1]
        if isinstance(question, Question) and question.right(answer) and question.kind != "never_told":
            return ()
        return invented_words(answer, (*map(text_of, self.messages[:place]), *self.values))

    def invents(self, place: int, answer: str) -> bool:
        """Whether an answer to the question at ``place`` names what nobody has said."""
        return bool(self.invented(place, answer))


def text_of(message: str | Question) -> str:
    """What is typed."""
    return message.text if isinstance(message, Question) else message


def read_talks(text: str, source: str = "open_talks.txt") -> tuple[Talk, ...]:
    """The talks in a text whose layout the bundled file explains at its top."""
    talks: list[Talk] = []
    for number, line in enumerate(text.splitlines(), start=1):
        sign, _, rest = line.partition(" ")
        if not line.strip() or sign == "#":
            continue
        if sign == "==":
            talks.append(Talk(rest, (), ()))
            continue
        if sign not in ("=", "-", "?") or not talks:
            raise UserError(f"{source}:{number}: a line begins with '==', '=', '-' or '?', a talk with '=='")
        if not rest.strip():
            raise UserError(f"{source}:{number}: nothing follows '{sign}'")
        last = talks[-1]
        if sign == "=":
            values = () if rest == "none" else tuple(rest.split(", "))
            talks[-1] = Talk(last.name, last.messages, values)
        else:
            message = rest if sign == "-" else _question(rest, f"{source}:{number}")
            if isinstance(message, Question) and not _was_told(message, last):
                raise UserError(f"{source}:{number}: message {message.told_in} is none that tells something before it")
            talks[-1] = Talk(last.name, (*last.messages, message), last.values)
    if not any(talk.questions for talk in talks):
        raise UserError(f"{source}: there is no question in it; a line that begins with '?' asks one")
    return tuple(talks)


def load_talks(path: Path) -> tuple[Talk, ...]:
    """Somebody's own talks, in the layout of the bundled ones."""
    try:
        return read_talks(read_bytes(path).decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from None


def _was_told(question: Question, talk: Talk) -> bool:
    """Whether the message that a question refers to is one before it, and no question itself."""
    if question.told_in is None:
        return True
    return 1 <= question.told_in <= len(talk.messages) and isinstance(talk.messages[question.told_in - 1], str)


def _question(line: str, place: str) -> Question:
    head, *parts = line.split(" | ")
    kind, _, told_in = head.partition(" ")
    wanted = {"told": (3, 4), "changed": (4,), "never_told": (2,)}
    if kind not in get_args(Kind) or len(parts) not in wanted[kind] or (kind != "never_told") != told_in.isdigit():
        raise UserError(f"{place}: a question is written as the top of the file says: {line}")
    if kind == "never_told":
        return Question(parts[0], "never_told", UNKNOWN, parts[1])
    try:
        expressions = [re.compile(part, re.IGNORECASE) for part in (parts[1], *parts[3:])]
    except re.error as error:
        raise UserError(f"{place}: the expression does not compile: {error}") from error
    forbidden = expressions[1] if len(expressions) > 1 else None
    return Question(parts[0], cast(Kind, kind), expressions[0], parts[2], int(told_in), forbidden)


def bundled_talks() -> tuple[Talk, ...]:
    """The talks in the package."""
    return read_talks((resources.files("rxt.evaluation") / "data" / "open_talks.txt").read_text("utf-8"))
