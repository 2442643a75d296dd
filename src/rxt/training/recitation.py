"""Conversations in random pieces of the vocabulary, which nothing but memory can go on in."""

from __future__ import annotations

import random

from rxt.data.template import Encoded, Template

SHORTEST_STRING = 4
"""Pieces of a string to be recited: two are the cue."""


def recitation(template: Template, turns: int, longest: int, rng: random.Random) -> list[Encoded]:
    """A conversation in random pieces of the vocabulary, which tells strings and asks to go on in one of them.

    Telling: the query is a string of 4 to ``longest`` pieces, at least 8 where that may be; the answer is a random
    piece, which is not learned. Asking: the query is two successive pieces from anywhere in a string told before, the
    answer what followed them, to the end; where several strings were told, one cue in eight was not, and its answer is
    empty. The first turn tells, the last one asks, and every string told is as likely to be asked for.

    Where a string stands does not help to go on in it, so a slot has to be found by what it holds: by the piece before
    (the induction of Olsson et al. 2022, arXiv 2209.11895, through memory).
    """
    room = min(longest, template.max_length - template.markup.size - 1)
    told: list[list[int]] = []
    said: list[Encoded] = []
    for turn in range(turns):
        if turn and (turn == turns - 1 or rng.random() < 0.5):
            string = rng.choice(told)
            start = rng.randint(0, len(string) - SHORTEST_STRING)
            cue, rest = string[start : start + 2], string[start + 2 :]
            if len(told) > 1 and rng.random() < 1 / 8:
                cue, rest = _random_pieces(template, 2, 2, rng), []
            said.append(template.of_pieces(cue, rest, learned=True))
        else:
            told.append(_random_pieces(template, min(8, room), room, rng))
            said.append(template.of_pieces(told[-1], _random_pieces(template, 1, 1, rng), learned=False))
    return said


def recitation_within(template: Template, turns: int, longest: int, rng: random.Random) -> list[Encoded]:
    """A conversation whose every query tells a string and asks at its end to go on in it: what one message says has to
    be found in it as what memory holds is found there."""
    room = min(longest, template.max_length // 2 - template.markup.size)
    said = list[Encoded]()
    for _ in range(turns):
        string = _random_pieces(template, min(8, room), room, rng)
        start = rng.randint(0, len(string) - SHORTEST_STRING)
        said.append(template.of_pieces([*string, *string[start : start + 2]], string[start + 2 :], learned=True))
    return said


def _random_pieces(template: Template, shortest: int, longest: int, rng: random.Random) -> list[int]:
    """``shortest`` to ``longest`` pieces that stand for text."""
    tokenizer = template.tokenizer
    length, found = rng.randint(shortest, longest), list[int]()
    while len(found) < length:
        piece = rng.randrange(tokenizer.vocab_size)
        found += [piece] * (piece not in tokenizer.special_ids)
    return found
