"""What tokens put into a text whose capitals are marks before small letters (``rxt.data.casing``).

A grammar knows texts, and what a token puts into one depends on the tokens before it: after a mark the next letter is a
capital. A token therefore has a word for each state of reading, and a mark none: it only changes the state. So do the
first bytes of a letter behind a mark, whose capital is known when all are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple

import torch
from torch import Tensor

from rxt.data.casing import CAPS, SPACE, UP, Reading, capital
from rxt.data.tokenizer import ChatTokenizer


class State(Enum):
    """What the tokens before leave open."""

    PLAIN = auto()
    UP = auto()
    """The next letter is a capital; a space may come before it."""
    UP_SPACED = auto()
    """No space any more."""
    CAPS = auto()
    """All letters that come next are capitals; a space may come before them."""
    CAPS_SPACED = auto()
    """No space any more."""
    RUN = auto()
    """Capitals have come; other letters that come next are capitals, too."""


class Place(NamedTuple):
    """Where the reading of a text is."""

    state: State = State.PLAIN
    held: bytes = b""
    """Of a character behind a mark that is not complete."""


SPACED = {State.UP: State.UP_SPACED, State.CAPS: State.CAPS_SPACED}
BEFORE = {
    State.UP: UP,
    State.UP_SPACED: UP + SPACE,
    State.CAPS: CAPS,
    State.CAPS_SPACED: CAPS + SPACE,
    State.RUN: f"{CAPS}a",
}
"""What brings a reading of marks to a state."""
MARKS = {UP.encode(): State.UP, CAPS.encode(): State.CAPS}
MARKED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + UP.encode() + CAPS.encode())
"""Bytes that no other token has: ASCII's capitals, and the marks."""


class Words:
    """Of one vocabulary: the words, and what each token puts into the text at a place of it.

    Only what a text is normally written as can come: small letters, and marks before them.
    """

    def __init__(self, spelled: Sequence[bytes], eos: int) -> None:
        """``spelled``: what each of V tokens is as it stands; empty for one that is no text."""
        found = {bytes([value]): value for value in range(256)}
        self._read: dict[State, list[tuple[list[int], Place] | None]] = {}
        self._places: dict[State, Tensor] = {}  # (V,) each
        self._silent: dict[State, list[tuple[int, Place]]] = {}
        for state in State:
            read = [_read(word, state) if word else None for word in spelled]
            places = [found.setdefault(each[0], len(found)) if each and each[0] else -1 for each in read]
            self._places[state] = torch.tensor(places)
            self._read[state] = [
                None if each is None else ([place] if each[0] else [], each[1])
                for each, place in zip(read, places, strict=True)
            ]
            self._silent[state] = [(token, each[1]) for token, each in enumerate(read) if each and not each[0]]
        self.words = [*found]
        """The words, each once."""
        self._continuing = {token: word for token, word in enumerate(spelled) if word and 0x80 <= word[0] < 0xC0}
        """Tokens that begin inside a character."""
        self._completed: dict[Place, dict[int, tuple[list[int], Place]]] = {}
        self._vocab_size, self._eos = len(spelled), eos

    def read(self, token: int, place: Place) -> tuple[list[int], Place] | None:
        """Which of ``words`` a token puts into the text, and the place after it; None where it cannot come."""
        return self._completing(place).get(token) if place.held else self._read[place.state][token]

    def _completing(self, place: Place) -> dict[int, tuple[list[int], Place]]:
        """Tokens that go on in the middle of a character, as ``read`` has them."""
        if place not in self._completed:
            read = {token: _read(place.held + word, place.state) for token, word in self._continuing.items()}
            self._completed[place] = {token: ([*each[0]], each[1]) for token, each in read.items() if each}
        return self._completed[place]  # bytes are words

    def of_tokens(self, tokens: Sequence[int]) -> list[int] | None:
        """The words of tokens; None where one cannot come after those before it."""
        place, found = Place(), list[int]()
        for token in tokens:
            read = self.read(token, place)
            if read is None:
                return None
            words, place = read
            found += words
        return found

    def allowed(self, words: Tensor, place: Place, may: Callable[[list[int]], bool]) -> Tensor:
        """Which words may come, and after them the end, (words + 1), as which tokens may, (V,). ``may``: several words
        may. A mark may where something may after it."""
        if place.held:
            tokens = torch.zeros(self._vocab_size, dtype=torch.bool)
            for token, (following, _) in self._completing(place).items():
                tokens[token] = may(following)
            return tokens
        words, end = words.clone(), bool(words[-1])
        words[-1] = False  # stands for no word
        tokens = words[self._places[place.state]]
        letters = bool(words[0x80:0x100].any())  # of several bytes
        for token, after in self._silent[place.state]:
            if after.held:
                tokens[token] = letters and any(may(following) for following, _ in self._completing(after).values())
            else:
                tokens[token] = words[self._places[after.state]].any()
        tokens[self._eos] = end
        return tokens


class Vocabulary:
    """Words as llguidance reads a vocabulary, and the end of a text after the last of them."""

    bos_token_id = None

    def __init__(self, words: Words, tokenizer: ChatTokenizer) -> None:
        self.tokens = [*words.words, b"<end>"]
        self.eos_token_id = len(words.words)
        self.special_token_ids = [self.eos_token_id]
        self._words, self._tokenizer = words, tokenizer

    def __call__(self, text: bytes) -> list[int]:
        """How a text goes on that can go on in one way only: as the tokenizer writes it, or else byte by byte."""
        found = self._words.of_tokens(self._tokenizer.encode_on(text.decode(errors="replace")))
        if found is not None and b"".join(self.tokens[word] for word in found) == text:
            return found
        return [*text]


def _read(spelled: bytes, state: State) -> tuple[bytes, Place] | None:
    """What a token puts into the text, and the place after it; None where it cannot come."""
    if spelled in MARKS:
        return (b"", Place(MARKS[spelled])) if state in (State.PLAIN, State.RUN) else None
    if MARKED.intersection(spelled):
        return None
    return (spelled, Place()) if state is State.PLAIN else _read_marked(spelled, state)


def _read_marked(spelled: bytes, state: State) -> tuple[bytes, Place] | None:
    """The same behind a mark."""
    try:
        whole, rest = spelled.decode(), b""
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return None
        whole, rest = spelled[: error.start].decode(), spelled[error.start :]
    following = SPACED.get(state, state)
    if whole == "" or (whole == SPACE and state in SPACED):
        return whole.encode(), Place(following, rest)
    first = whole.removeprefix(SPACE)[:1] if state in SPACED else whole[0]
    if state is not State.RUN and capital(first) == first:
        return None
    reading = Reading("", True)
    reading.push(BEFORE[state])
    text = reading.push(whole).encode()
    if reading.push("a") == "A":
        return text, Place(State.RUN, rest)
    return text + rest, Place()
