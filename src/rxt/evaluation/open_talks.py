"""Short talks as people type them, each with questions and expressions that judge their answers; never trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast, get_args

from rxt.errors import UserError

Kind = Literal["told", "changed", "never_told"]

UNKNOWN = re.compile(
    r"\b(don.?t|do not|can.?t|cannot) (know|say|tell)\b|\bI (don.?t|do not) have\b|\bno idea\b"
    r"|\bnever (told|said|mentioned)\b"
    r"|\b(have|has|did)(n.?t| not) (yet |ever |been )?(told|tell|said|say|mention(ed)?|give(n)?)\b",
    re.IGNORECASE,
)
"""An answer that says that it is not known."""

_VALUE = re.compile(r"[^\W_]+(?:['’.:+-][^\W_]+)*")
_ORDINARY = frozenset(["i", "i'm", "i've", "i'll", "i'd", "yes", "no", "sorry", "ok", "okay", "hello", "hi", "thanks"])


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

    def invents(self, place: int, answer: str) -> bool:
        """Whether a wrong answer to the question at ``place`` names what nobody has said: a number or a name.

        A name is a word in capitals that does not begin a sentence, or that is a sentence of its own.
        """
        question = self.messages[place - 1]
        if isinstance(question, Question) and question.right(answer) and question.kind != "never_told":
            return False
        said = [m.text if isinstance(m, Question) else m for m in self.messages[:place]]
        known = {word.casefold() for text in (*said, *self.values) for word in _words(text)}
        return any(word.casefold() not in known | _ORDINARY for word in _names(answer))


def _words(text: str) -> list[str]:
    """Words as they stand, with their parts and without a possessive ending."""
    whole = [word.replace("’", "'").removesuffix("'s") for word in _VALUE.findall(text)]
    return whole + [part for word in whole for part in re.split(r"[.:'+-]", word) if part]


def _names(answer: str) -> list[str]:
    names: list[str] = []
    for sentence in re.split(r"[.!?]+\s+", answer):
        words = [word.replace("’", "'").removesuffix("'s") for word in _VALUE.findall(sentence)]
        later = [word for word in words[1:] if word[0].isupper() and not word.startswith("I'")]
        first = words[:1] if len(words) == 1 or (words and words[0][0].isdigit()) else []
        names += [*first, *later, *(word for word in words[1:] if word[0].isdigit())]
    return names


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
        last = talks[-1]
        if sign == "=":
            values = () if rest == "none" else tuple(rest.split(", "))
            talks[-1] = Talk(last.name, last.messages, values)
        else:
            message = rest if sign == "-" else _question(rest, f"{source}:{number}")
            talks[-1] = Talk(last.name, (*last.messages, message), last.values)
    return tuple(talks)


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
