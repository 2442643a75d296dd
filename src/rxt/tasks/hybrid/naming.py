"""Names of tools and of their arguments, composed anew for every conversation, and which split may show them.

A name is words in one of the ways in which programs write them, at times with something before or after them, or
syllables that mean nothing. A fixed hash of its letters assigns it to a split: the name of a tool is shown by its split
alone, that of an argument, where training may not have it, by one split of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from random import Random
from typing import Literal, get_args

from rxt.tasks.hybrid.values import TRIES, NothingLeft, ValueSplit, split_of, words

Style = Literal["snake", "camel", "pascal", "kebab"]

_STYLES: tuple[Style, ...] = get_args(Style)
_STYLE_WEIGHTS = (6, 5, 2, 1)
_BEFORE_TOOL = ("get", "do", "my", "run", "api", "fetch", "call", "ask", "new", "quick", "city", "home", "smart", "v2")
_AFTER_TOOL = ("now", "tool", "api", "service", "info", "helper", "request", "agent", "action", "plus", "v1", "desk")
_BEFORE_ARGUMENT = ("the", "my", "wanted", "given", "this", "its", "arg", "input", "asked", "set")
_AFTER_ARGUMENT = ("value", "input", "arg", "field", "data", "param", "wanted", "given", "option", "entry")
_DECORATED = 0.3
"""Of the names of few words: with a word before them, and as many with one after them."""
_FEW = 3
_SYLLABLES = words(
    "ba bel bri cam cor dak dul fen fim gar gol hab hin jor kam kel lin lum mek mor nal nep ol pax pel qui rav rik "
    "rup sab sho sil tam tev tor ul vak ven vim wex xan yol zan zib zor"
)


def style_of(rng: Random) -> Style:
    """In which a tool's names are written."""
    return rng.choices(_STYLES, _STYLE_WEIGHTS)[0]


def tool_name(rng: Random, split: ValueSplit, style: Style, phrases: Sequence[str], nonsense_rate: float) -> str:
    """A name that only ``split`` shows, of one of the phrases or of syllables."""

    def draw() -> str:
        if rng.random() < nonsense_rate:
            return nonsense(rng)
        return styled(_decorated(rng, rng.choice(phrases), _BEFORE_TOOL, _AFTER_TOOL), style)

    return _owned(draw, "tool name", {split})


def argument_name(rng: Random, split: ValueSplit, style: Style, phrases: Sequence[str]) -> str:
    """A name that ``split`` may show, of one of the phrases."""

    def draw() -> str:
        name = styled(_decorated(rng, rng.choice(phrases), _BEFORE_ARGUMENT, _AFTER_ARGUMENT), style)
        return name[0].lower() + name[1:].replace("-", "_")

    return _owned(draw, "argument name", {split, "train"})


def argument_nonsense(rng: Random, split: ValueSplit) -> str:
    """A name that ``split`` may show, of syllables."""
    return _owned(lambda: nonsense(rng), "argument name", {split, "train"})


def nonsense(rng: Random) -> str:
    """Two or three syllables: ``zorvak``."""
    return "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 2, 3))))


def styled(parts: Sequence[str], style: Style) -> str:
    """``book_sauna``, ``bookSauna``, ``BookSauna`` or ``book-sauna``."""
    if style == "snake":
        return "_".join(parts)
    if style == "kebab":
        return "-".join(parts)
    joined = "".join(word[0].upper() + word[1:] for word in parts)
    return joined if style == "pascal" else joined[0].lower() + joined[1:]


def owner(kind: str, name: str) -> ValueSplit:
    """The split that a name belongs to, in whatever style it is written."""
    return split_of(kind, name.replace("_", "").replace("-", "").lower())


def _decorated(rng: Random, phrase: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    parts = phrase.split()
    if len(parts) < _FEW:
        chance = rng.random()
        if chance < _DECORATED:
            return [rng.choice(before), *parts]
        if chance < 2 * _DECORATED:
            return [*parts, rng.choice(after)]
    return parts


def _owned(draw: Callable[[], str], kind: str, splits: Container[ValueSplit]) -> str:
    for _ in range(TRIES):
        name = draw()
        if owner(kind, name) in splits:
            return name
    raise NothingLeft
