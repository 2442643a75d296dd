"""Capitals as marks before small letters, so that ``wendelin``, ``Wendelin`` and ``WENDELIN`` share their pieces.

``UP`` makes the next letter a capital, ``CAPS`` all letters up to the next mark or character that is no letter. A mark
stands before the space of its word: " Wendelin" is ``UP`` + " wendelin". A mark that the text itself holds is doubled.

The way in is a normalizer of the library, so that a ``tokenizer.json`` is all that encoding needs; the way back is
``Reading``.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, normalizers

UP, CAPS = "\x0e", "\x0f"
"""Control characters (shift out, shift in): each a single byte, and so one token of every byte-level vocabulary."""
SPACE = " "
"""Stands before every text, so that a word has the same pieces at the beginning as elsewhere."""

_CAPITALS = r"\p{Lu}\p{Lt}Ⓐ-ⓏⅠ-Ⅿ"
_CIRCLED = "ⓐ-ⓩⅰ-ⅿ"
_CAPITAL = f"[{_CAPITALS}]"
_SMALL = rf"(?!{_CAPITAL})[\p{{L}}{_CIRCLED}]"
_RUN = f"{_CAPITAL}{_CAPITAL}(?!{_SMALL})"
"""Where ``CAPS`` may stand. The last capital before a small letter begins a word and ends the run: XMLHttp. Nothing
looks further ahead than two letters, so that the time a text takes grows with its length alone."""
_SINGLE = f"{_CAPITAL}(?!{_CAPITAL}(?!{_SMALL}))"
_INSIDE = f"(?<=[^ {_CAPITALS}])"


def normalizer() -> normalizers.Normalizer:
    """Puts ``SPACE`` before the text and marks before its capitals, which become small letters."""
    # A space is replaced with itself and the mark: the library fails on an empty match where a text begins.
    return normalizers.Sequence(
        [
            normalizers.Replace(UP, UP * 2),
            normalizers.Replace(CAPS, CAPS * 2),
            normalizers.Replace("İ", "I\u0307"),  # the same letter in two parts, as its small one has two
            normalizers.Prepend(SPACE),
            normalizers.Replace(Regex(f" (?={_RUN})"), CAPS + SPACE),
            normalizers.Replace(Regex(f" (?={_SINGLE})"), UP + SPACE),
            normalizers.Replace(Regex(f"{_INSIDE}(?={_RUN})"), CAPS),
            normalizers.Replace(
                Regex(f"{_INSIDE}(?={_SINGLE})|(?<={_CAPITAL})(?={_CAPITAL}{_SMALL})"),
                UP,
            ),
            normalizers.Lowercase(),
        ]
    )


def is_marking(step: dict[str, Any] | None) -> bool:
    """Whether a ``normalizer`` of a ``tokenizer.json`` puts marks before capitals."""
    steps = (step or {}).get("normalizers") or ()
    return any(inner.get("content") == CAPS + SPACE for inner in steps)


def capital(letter: str) -> str:
    """The one capital of a small letter; a character that has none stays."""
    if letter == "ß":
        return "ẞ"
    # The Greek letters with iota subscript have two letters in capitals, but one at the beginning of a title.
    return next((large for large in (letter.upper(), letter.title()) if len(large) == 1), letter)


class Reading:
    """From what the tokens of one text spell to the text: the prefix goes, and marks become capitals.

    Cut anywhere, the pieces join to the same text. A mark that no letter follows has no text.
    """

    def __init__(self, prefix: str = "", case_marks: bool = False) -> None:
        self._prefix = prefix
        self._case_marks = case_marks
        self._mark = ""
        """The mark whose letter has not come yet."""
        self._spaced = False
        """The space between that mark and its letter has come."""
        self._run = False
        """The last letter was one of a ``CAPS`` run."""

    def push(self, piece: str) -> str:
        """The text that is certain with this piece of what tokens spell."""
        text = "".join(map(self._read, piece)) if self._case_marks else piece
        if not text:
            return ""
        text, self._prefix = text.removeprefix(self._prefix), ""
        return text

    def _read(self, character: str) -> str:
        if character in (UP, CAPS):
            doubled = character == self._mark and not self._spaced
            self._mark, self._spaced, self._run = "" if doubled else character, False, False
            return character if doubled else ""
        if self._mark:
            if character == SPACE and not self._spaced:
                self._spaced = True
                return SPACE
            self._run, self._mark = self._mark == CAPS, ""
            return capital(character)
        self._run = self._run and _is_letter(character)
        return capital(character) if self._run else character


def _is_letter(character: str) -> bool:
    return character.isalpha() or "ⓐ" <= character <= "ⓩ" or "ⅰ" <= character <= "ⅿ"
