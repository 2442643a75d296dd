"""What tokens put into a text is what a tokenizer with case marks reads out of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxt.data.casing import CAPS, UP
from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.json_answers import JsonGrammar
from rxt.generation.marked_words import Place, State, Words

pytest.importorskip("llguidance")
TEXTS = ["my name is Ann and I live in Graz", "NASA is in the USA, not in Österreich", "ÉCOLE, école"] * 3
TOKENIZER = ChatTokenizer.train(TEXTS, 340, "beta", case_marks=True)


def words_of(tokenizer: ChatTokenizer) -> Words:
    words = JsonGrammar(tokenizer, 340).words
    assert words is not None
    return words


WORDS = words_of(TOKENIZER)
BYTES = {
    **{TOKENIZER.spell([token]).encode(): token for token in range(TOKENIZER.vocab_size)},
    **{
        WORDS.words[read[0][0]]: token
        for token in range(340)
        if (read := WORDS.read(token, Place())) is not None and read[0]
    },
}
"""Tokens by what they are."""
REPEATABLE = settings(deadline=None, derandomize=True, database=None)
LETTERS = st.text(st.sampled_from('aBcDÖöÉß’ .,1"\\nñЖж中'), max_size=12)
"""Letters of one token and of several, with and without capitals."""


def text_of(words: list[int]) -> str:
    return b"".join(WORDS.words[word] for word in words).decode()


@REPEATABLE
@given(LETTERS | st.text(st.characters(exclude_characters=UP + CAPS, exclude_categories=["Cs"])))
def test_the_tokens_of_a_text_are_words_of_it(text: str) -> None:
    ids = TOKENIZER.encode(text)
    words = WORDS.of_tokens(ids)
    assert words is not None
    assert text_of(words) == (f" {TOKENIZER.decode(ids)}" if text else "")


@REPEATABLE
@given(st.lists(st.sampled_from([*BYTES.values()]), max_size=8))
def test_any_tokens_that_may_come_are_read_as_the_tokenizer_reads_them(ids: list[int]) -> None:
    place, words = Place(), list[int]()
    for token in ids:
        read = WORDS.read(token, place)
        if read is None:
            return
        words, place = [*words, *read[0]], read[1]
    if place.held:
        return
    try:
        expected = text_of(words)
    except UnicodeDecodeError:
        return
    assert TOKENIZER.reading().push(TOKENIZER.spell(ids)) == expected.removeprefix(" ")


@pytest.mark.parametrize(
    ("tokens", "words", "place"),
    [
        ([UP], [], Place(State.UP)),
        ([UP, " "], [" "], Place(State.UP_SPACED)),
        ([UP, "a", "b"], ["A", "b"], Place()),
        ([CAPS, "a"], ["A"], Place(State.RUN)),
        ([CAPS, "a", "b", ",", "c"], ["A", "B", ",", "c"], Place()),
        ([CAPS, "a", UP, "b"], ["A", "B"], Place()),
        ([UP, b"\xc3"], [], Place(State.UP_SPACED, b"\xc3")),
        ([UP, b"\xc3", b"\xb6", "b"], [b"\xc3", b"\x96", "b"], Place()),
        ([CAPS, "a", b"\xc3", b"\xb6"], ["A", b"\xc3", b"\x96"], Place(State.RUN)),
        ([CAPS, "a", b"\xe2", b"\x80", b"\x99", "b"], ["A", b"\xe2", b"\x80", b"\x99", "b"], Place()),
    ],
)
def test_marks_are_about_what_comes_after_them(
    tokens: list[str | bytes], words: list[str | bytes], place: Place
) -> None:
    at, found = Place(), list[bytes]()
    for token in tokens:
        read = WORDS.read(BYTES[token.encode() if isinstance(token, str) else token], at)
        assert read is not None
        found += [WORDS.words[word] for word in read[0]]
        at = read[1]
    assert found == [word.encode() if isinstance(word, str) else word for word in words]
    assert at == place


@pytest.mark.parametrize(
    "tokens", [["A"], [UP, UP], [UP, CAPS], [UP, "1"], [UP, " ", " "], [CAPS, ","], [UP, b"\xc3", "a"], [UP, b"\x80"]]
)
def test_what_no_text_is_written_as_cannot_come(tokens: list[str | bytes]) -> None:
    assert WORDS.of_tokens([BYTES[each.encode() if isinstance(each, str) else each] for each in tokens]) is None
