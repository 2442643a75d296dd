"""The little language that open conversations are written in, and whom they speak of.

``(a|b|c)`` is one of the three, ``(a|)`` perhaps a; they nest. ``[play|plays]`` is the form for the speaker and the
form for anybody else. ``a {v}`` becomes "an" where it must. Words in braces depend on whose fact it is and on
who speaks of it:

========  =================  ================  ================  ==================
word      I speak of myself  ... my sister     it speaks of me   ... of my sister
========  =================  ================  ================  ==================
``{S}``   I                  my sister         you               your sister
``{o}``   me                 my sister         you               your sister
``{s}``   my                 my sister's       your              your sister's
``{be}``  am                 is                are               is
``{Sbe}`` I'm                my sister is      you're            your sister is
``{Sve}`` I've               my sister has     you've            your sister has
========  =================  ================  ================  ==================

``{v}`` is the value, ``{a}`` what the fact is about, ``{old}`` the value before a change; ``my`` and ``your`` as plain
words of a template turn into each other as the speaker changes when they are written ``{my}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Literal

Pronoun = Literal["she", "he", "they"]
Voice = Literal["person", "model"]
"""Who speaks: the person whose facts these are, or the model that answers."""


@dataclass(frozen=True)
class Subject:
    """Whose fact it is: the person's own, a relative's ("sister"), somebody's with a name, or of one who has both."""

    relative: str | None = None
    name: str | None = None
    pronoun: Pronoun = "they"
    """By which the person goes on speaking of them."""

    @property
    def me(self) -> bool:
        return self.relative is None and self.name is None

    def in_short(self, rng: Random) -> Subject:
        """By the name, the relation, or both, of somebody who has both."""
        if self.relative is None or self.name is None:
            return self
        return rng.choice((self, replace(self, name=None), replace(self, relative=None)))

    def words(self, voice: Voice, again: bool = False) -> Mapping[str, str]:
        """The words of the table above; ``again``: those for somebody who has just been spoken of."""
        mine = "my" if voice == "person" else "your"
        if self.me:
            return {**(_I if voice == "person" else _YOU), "s": mine, "my": mine}
        if again and self.pronoun != "they":  # "they play", not "they plays", so it is left out
            return {**_PRONOUNS[self.pronoun], "my": mine}
        whole = self.name or ""
        if self.relative is not None:
            whole = f"{mine} {self.relative} {whole}".rstrip()
        ending = "'" if whole.endswith("s") else "'s"
        return {
            **{"S": whole, "o": whole, "s": whole + ending, "be": "is"},
            **{"Sbe": f"{whole} is", "Sve": f"{whole} has", "my": mine},
        }


_I = {"S": "I", "o": "me", "be": "am", "Sbe": "I'm", "Sve": "I've"}
_YOU = {"S": "you", "o": "you", "be": "are", "Sbe": "you're", "Sve": "you've"}
_PRONOUNS: Mapping[Pronoun, Mapping[str, str]] = {
    "she": {"S": "she", "o": "her", "s": "her", "be": "is", "Sbe": "she's", "Sve": "she has"},
    "he": {"S": "he", "o": "him", "s": "his", "be": "is", "Sbe": "he's", "Sve": "he has"},
}
ME = Subject()

_WORD = re.compile(r"\{(\w+)\}")
_FORMS = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")
_ARTICLE = re.compile(r"(?<=\b[Aa])(?= \{(v|a|old|object)\})")
_SPACES = re.compile(r" {2,}")
_Node = tuple[object, ...]


def choose(template: str, rng: Random) -> str:
    """One of the texts that the alternatives of ``template`` allow; its words in braces stay."""
    return _SPACES.sub(" ", _render(_parse(template), rng)).strip()


def fill(
    template: str, rng: Random, subject: Subject, voice: Voice, values: Mapping[str, str], again: bool = False
) -> str:
    """``template`` with its alternatives chosen, its verbs in their form and its words put in.

    ``again``: the subject has just been spoken of, so a pronoun does. ``values``: by word, such as ``v`` and ``a``.
    They stay as they are, whatever signs they hold.
    """
    text = choose(template, rng)
    text = _FORMS.sub(lambda found: found[1 if subject.me else 2], text)
    words = {**subject.words(voice, again), **values}
    text = _ARTICLE.sub(lambda found: "n" if words[found[1]][:1].lower() in "aeiou" else "", text)
    return _WORD.sub(lambda found: words[found[1]], text)


def sentence(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def lengths(template: str) -> int:
    """How many different texts a template allows."""
    return _count(_parse(template))


@cache
def _parse(template: str) -> _Node:
    """Text and alternatives in turn: a tuple of strings and of lists of such tuples."""
    stack: list[list[list[object]]] = [[[]]]
    for piece in re.split(r"([(|)])", re.sub(r"\[([^\]]*)\]", lambda found: found[0].replace("|", "\x00"), template)):
        if piece == "(":
            stack.append([[]])
        elif piece == "|" and len(stack) > 1:
            stack[-1].append([])
        elif piece == ")" and len(stack) > 1:
            options = stack.pop()
            stack[-1][-1].append(tuple(tuple(option) for option in options))
        elif piece:
            stack[-1][-1].append(piece.replace("\x00", "|"))
    if len(stack) > 1:
        raise ValueError(f"a bracket is not closed: {template}")
    return tuple(stack[0][0])


def _render(node: _Node, rng: Random) -> str:
    parts: list[str] = []
    for part in node:
        if isinstance(part, tuple):
            parts.append(_render(part[int(rng.random() * len(part))], rng))
        else:
            parts.append(str(part))
    return "".join(parts)


def _count(node: _Node) -> int:
    total = 1
    for part in node:
        if isinstance(part, tuple):
            total *= sum(_count(option) for option in part)
    return total
