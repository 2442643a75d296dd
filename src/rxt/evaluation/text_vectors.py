"""What a text is about, as a sparse vector that no model has learned: content words and their pieces.

The features of a word are the word itself and its runs of three to five letters, so that "walk" and "walking" are near
each other. Function words ("the", "is", "you") weigh next to nothing: every text has them. Words of the same meaning
and other letters ("car", "automobile") are strangers here.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache

Vector = Mapping[str, float]

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
FUNCTION_WEIGHT = 0.05
PIECES = 0.5
"""Of a word's weight, squared: what its pieces have together; the whole word has the rest."""
LENGTHS = (3, 4, 5)
_FUNCTION_WORDS = """
    a an the this that these those here there it its it's that's there's
    i me my mine myself i'm i'll i've i'd we us our ours let's
    you your yours yourself you're you'll you've you'd
    he him his she her hers they them their theirs they're one ones someone something anything everything nothing
    who whom whose what which when where why how what's who's
    am is are was were be been being do does did done doing have has had having isn't aren't wasn't don't doesn't didn't
    can could can't cannot may might must shall should will would won't wouldn't
    and or but nor so if then than as because while until though although whether
    of in on at to from by for with without about into onto over under out off up down
    after before between through during
    not no yes too also very just only more most much many some any all both each every few other another such own same
    well oh okay ok please thanks thank now again ever yet still even rather quite perhaps maybe
    know knew remember remembered say says said tell tells told think thought mean means
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
SMALL_NUMBERS = """zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
TENS = "thirty forty fifty sixty seventy eighty ninety hundred"
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
NUMBERS = (
    {
        word: str(number) for number, word in enumerate(SMALL_NUMBERS.split()) if word != "one"
    }  # which is rarely a number
    | {word: str(10 * number) for number, word in enumerate(TENS.split(), start=3)}
    | {word: str(number) for number, word in enumerate(ORDINALS.split(), start=1)}
)
ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")


def words(text: str) -> list[str]:
    """The words of a text in lower case; common numbers, "third" among them, in digits."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower()
    return [NUMBERS.get(word, ORDINAL.sub(r"\1", word)) for word in WORD.findall(plain)]


@lru_cache(maxsize=100_000)
def _features(word: str) -> tuple[tuple[str, float], ...]:
    """The features of one word; their squares add up to its squared weight."""
    weight = FUNCTION_WEIGHT if word in FUNCTION_WORDS else 1.0
    framed = f"<{word}>"
    pieces = [framed[at : at + length] for length in LENGTHS for at in range(len(framed) - length + 1)]
    if not pieces or word.isdigit() or weight < 1:  # 12 and 120 have nothing in common
        return ((word, weight),)
    each = weight * math.sqrt(PIECES / len(pieces))
    return ((word, weight * math.sqrt(1 - PIECES)), *((f"~{piece}", each) for piece in pieces))


def vector(text: str, faint: Collection[str] = (), faintness: float = 1.0) -> Vector:
    """The text's features; a word said n times weighs 1 + ln n times as much as one said once. Empty for a text without
    words.

    ``faint`` words weigh ``faintness`` times what they would.
    """
    found: dict[str, float] = {}
    for word, count in Counter(words(text)).items():
        scale = (1 + math.log(count)) * (faintness if word in faint else 1.0)
        for feature, weight in _features(word):
            found[feature] = found.get(feature, 0.0) + weight * scale
    return found


def cosine(first: Vector, second: Vector) -> float:
    """Of two vectors, 0 to 1; 0 where one is empty."""
    norm = math.sqrt(sum(value**2 for value in first.values()) * sum(value**2 for value in second.values()))
    return sum(value * second.get(feature, 0.0) for feature, value in first.items()) / norm if norm else 0.0
