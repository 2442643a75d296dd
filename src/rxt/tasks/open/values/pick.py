"""How a value is drawn: a word of a list, one of some forms with words in it, or one of several draws."""

from __future__ import annotations

import re
from bisect import bisect
from functools import cache
from importlib import resources
from itertools import accumulate
from random import Random

from rxt.tasks.open.grammar import choose
from rxt.tasks.open.values import Draw

_WORD = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"(?<![\w'])an? (?=\S)")
_LIKE_A_CONSONANT = re.compile(r"(?:[Uu]ni[^mn]|[Uu]s[eu]|[Uu]t[eo]|[Uu]ku|[Ee][uw]|[Oo]n(?:e\b|ce)|U[A-Z]|yt)")
_VOWELS = frozenset("aeiouáàâãäåāąæéèêëēęíîïīóòôõöøōőúùûüūůű")
_LIKE_A_VOWEL = re.compile(r"(?:hour|honest|heir|[FHLMNRSX][A-Z]|X-)")


@cache
def table(name: str) -> tuple[str, ...]:
    """The words of ``lists/<name>.txt``, which holds one a line."""
    text = (resources.files(__package__ or "") / "lists" / f"{name}.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line)


def one(rng: Random, options: tuple[str, ...] | str) -> str:
    """Any of them; of a string, any of its letters."""
    return options[int(rng.random() * len(options))]


def whole(rng: Random, low: int, high: int) -> int:
    """A number from ``low`` to ``high``, both included; quicker than ``randint``."""
    return low + int(rng.random() * (high - low + 1))


def listed(name: str) -> Draw:
    """A word of a list."""
    return lambda rng: one(rng, table(name))


def forms(*templates: str, **words: Draw) -> Draw:
    """One of the templates with its alternatives chosen; a word in braces is drawn by the draw of that name, or else
    from the list of that name. An a before a vowel turns into an."""
    articles = any(re.search(r"\ban?\b", template) for template in templates)

    def draw(rng: Random) -> str:
        text = choose(one(rng, templates), rng)
        text = _WORD.sub(lambda found: words[found[1]](rng) if found[1] in words else one(rng, table(found[1])), text)
        return _ARTICLE.sub(lambda found: with_article("", text[found.end() :]), text) if articles else text

    return draw


def mixed(*parts: tuple[float, Draw]) -> Draw:
    """One of the draws, each as often as its weight says."""
    sums = list(accumulate(weight for weight, _ in parts))
    draws = [draw for _, draw in parts]
    return lambda rng: draws[bisect(sums, rng.random() * sums[-1], 0, len(draws) - 1)](rng)


def number(low: int, high: int, step: int = 1) -> Draw:
    """A number in figures."""
    return lambda rng: str(low + step * int(rng.random() * ((high - low) // step + 1)))


def digits(pattern: str, rng: Random) -> str:
    """``pattern`` with each ``#`` a digit, each ``%`` a digit but 0, each ``@`` a capital, each ``~``
    a small letter."""
    return "".join(
        one(rng, "0123456789")
        if sign == "#"
        else one(rng, "123456789")
        if sign == "%"
        else one(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        if sign == "@"
        else one(rng, "abcdefghijklmnopqrstuvwxyz")
        if sign == "~"
        else sign
        for sign in pattern
    )


def figures(*patterns: str) -> Draw:
    """One of the patterns of ``digits``."""
    return lambda rng: digits(one(rng, patterns), rng)


def changed(draw: Draw, how: str) -> Draw:
    """The value with a capital at its beginning ("capital"), at each word ("title"), or in small letters ("small")."""
    if how == "capital":
        return lambda rng: capital(draw(rng))
    if how == "title":
        return lambda rng: title_case(draw(rng))
    return lambda rng: draw(rng).lower()


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_SMALL = frozenset(
    ["a", "an", "the", "of", "in", "on", "at", "and", "to", "for", "with", "from", "under", "by", "under"]
)


def title_case(text: str) -> str:
    """As in the titles of books: "the Salt of the Earth" has its small words small, but for the first."""
    words = text.split(" ")
    return " ".join(word if at and word in _SMALL else capital(word) for at, word in enumerate(words))


def with_article(noun: str, before: str | None = None) -> str:
    """With a or an before it, as it sounds; the article alone, if what it stands before is given apart."""
    sounds = noun if before is None else before
    vowel = (sounds[:1].lower() in _VOWELS and not _LIKE_A_CONSONANT.match(sounds)) or _LIKE_A_VOWEL.match(sounds)
    return f"{'an' if vowel else 'a'} {noun}"


_UNCHANGED = frozenset(["bison", "chamois", "deer", "moose", "reindeer", "sheep", "squid", "trout", "cod", "salmon"])
_IRREGULAR = {"goose": "geese", "wolf": "wolves", "mouse": "mice", "dormouse": "dormice", "dromedary": "dromedaries"}


def plural(noun: str) -> str:
    """ "border collie" -> "border collies"."""
    head, space, last = noun.rpartition(" ")
    if last in _UNCHANGED or last.endswith("s"):
        return noun
    if last in _IRREGULAR:
        return head + space + _IRREGULAR[last]
    if last.endswith(("x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if last.endswith("y") and last[-2:-1] not in "aeiou" else noun + "s"


def a(draw: Draw) -> Draw:
    """The value with a or an before it."""
    return lambda rng: with_article(draw(rng))


def animals(rng: Random) -> str:
    """Several of a kind: "badgers"."""
    return plural(one(rng, table("animals")))
