"""Case marks: capitals share the pieces of small letters, and come back exactly."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rxt.data.casing import CAPS, UP, Reading, normalizer
from rxt.data.tokenizer import TOKEN_TEXTS, ChatTokenizer
from rxt.errors import UserError

REPEATABLE = settings(deadline=None, derandomize=True, database=None)
CORPUS = ["my name is wendelin, is it not?", "Wendelin and WENDELIN met o'sullivan", "naïve café 東京 123"] * 3
MARKED = ChatTokenizer.train(CORPUS, 320, case_marks=True)
SHARED = {"İ": "I\u0307", "ϴ": "Θ", "\u2126": "Ω", "\u212a": "K", "\u212b": "Å", "ǅ": "Ǆ", "ǈ": "Ǉ", "ǋ": "Ǌ", "ǲ": "Ǳ"}
"""Capitals that share their small letter with another, and as what they come back."""
NEWER = re.compile("[\u1c89\ua7cb-\ua7dc\U00010d50-\U00010d65\U00016ea0-\U00016eb8]")
"""Capitals of Unicode 16 and 17, which the library's regular expressions do not know."""


def reversible(text: str) -> bool:
    return SHARED.keys().isdisjoint(text) and not NEWER.search(text)


WORDS = st.sampled_from(
    ["Wendelin", "WENDELIN", "McDonald", "XMLHttp", "ABc", "QX-7719-B", "iPHONE", "straße", "STRAẞE"]
)
SIGNS = st.sampled_from([" ", "  ", "\n", "'", "-", UP, CAPS, "é", "É", "E\u0301", "Ⓐ", "ⓐ", "ᾈ", "𝐀", "\u0345", "🙂"])
TEXTS = st.lists(
    st.one_of(st.text(), st.text("ABab '1."), WORDS, SIGNS, st.sampled_from(list(TOKEN_TEXTS.values())))
).map("".join)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("wendelin", " wendelin"),
        ("Wendelin", "^ wendelin"),
        ("hi WENDELIN.", " hi« wendelin."),
        ("McDonald", "^ mc^donald"),
        ("QX-7719-B", "« qx-7719-^b"),
        ("XMLHttp", "« xml^http"),
        ("I AM", "^ i« am"),
        ("Ab ABc", "^ ab^ a^bc"),
        ("iPHONE", " i«phone"),
        ("\nOK\n Yes", " \n«ok\n^ yes"),
        ("  No", "  ^ no"),
        (UP + "A", " ^^^a"),
    ],
)
def test_where_marks_stand(text: str, marked: str) -> None:
    assert normalizer().normalize_str(text).replace(UP, "^").replace(CAPS, "«") == marked


def test_a_word_has_the_same_pieces_however_it_is_written() -> None:
    vocabulary = MARKED._tokenizer.get_vocab()
    up, caps = vocabulary["Ď"], vocabulary["ď"]
    small = MARKED.encode("wendelin")
    assert len(small) < len("wendelin")
    assert MARKED.encode("Wendelin") == [up, *small]
    assert MARKED.encode("WENDELIN") == [caps, *small]
    before = MARKED.encode("it is")
    assert MARKED.encode("it is Wendelin") == [*before, up, *small]
    assert MARKED.encode("it is WENDELIN,")[: len(before) + 1] == [*before, caps]
    assert [token for token in MARKED.encode("O'Sullivan") if token != up] == MARKED.encode("o'sullivan")


@REPEATABLE
@given(text=TEXTS.filter(reversible))
@example(text="AB\u0345 ABⓐ Ⓐb 🄰B A𝐀B")
@example(text=f"{UP}{CAPS} {UP} A{UP}{UP}B{CAPS}CD{CAPS}")
@example(text="".join(TOKEN_TEXTS.values()))
def test_any_text_comes_back_and_makes_no_special_token(text: str) -> None:
    ids = MARKED.encode(text)
    assert MARKED.decode(ids) == text
    assert MARKED.special_ids.isdisjoint(ids)


def test_every_cased_letter_comes_back_but_those_that_share_their_small_one() -> None:
    cased = [
        letter
        for letter in map(chr, range(0x20000))
        if unicodedata.category(letter) != "Cs" and (letter.lower(), letter.upper()) != (letter, letter)
    ]
    lost = {
        letter: MARKED.decode(MARKED.encode(letter))
        for letter in cased
        for text in (letter, f"A{letter}", f"{letter}B", f"AB{letter}d", letter * 2)
        if MARKED.decode(MARKED.encode(text)) != text
    }
    assert {letter: text for letter, text in lost.items() if not NEWER.match(letter)} == SHARED


@REPEATABLE
@given(st.text(f"aAß1 .ⓐ{UP}{CAPS}"), st.data())
def test_a_reading_may_be_cut_anywhere(spelled: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(spelled)))
    parts = Reading(" ", case_marks=True)
    whole = Reading(" ", case_marks=True).push(spelled)
    assert parts.push(spelled[:place]) + parts.push(spelled[place:]) == whole


@pytest.mark.parametrize(
    ("spelled", "text"),
    [(f"a{UP}1", "a1"), (f"a{UP}", "a"), (f"{UP}{CAPS} ab c", "AB c"), (f"{CAPS} a{UP} bc", "A Bc")],
)
def test_marks_that_no_text_makes(spelled: str, text: str) -> None:
    assert Reading(" ", case_marks=True).push(spelled) == text


def test_save_and_load(tmp_path: Path) -> None:
    written = MARKED.save(tmp_path)
    loaded = ChatTokenizer.load(tmp_path)
    assert loaded.case_marks
    text = "Hello Wendelin, it is NASA."
    assert loaded.encode(text) == MARKED.encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.save(tmp_path / "again.json").read_bytes() == written.read_bytes()
    alone = Tokenizer.from_file(str(written))
    assert alone.encode(text, add_special_tokens=False).ids == MARKED.encode(text), "the file alone is enough"


def test_without_the_option_nothing_is_marked(tmp_path: Path) -> None:
    plain = ChatTokenizer.train(CORPUS, 320)
    assert json.loads(plain.save(tmp_path).read_text())["normalizer"] is None
    assert not ChatTokenizer.load(tmp_path).case_marks
    assert plain.decode(plain.encode(f"{UP}a")) == f"{UP}a"


@pytest.mark.parametrize("length", [2, 3, 6])
def test_no_piece_is_longer_than_asked(length: int) -> None:
    texts = ["ab\nabc\nabcd\nabcde\nabcdef\nabcdefg\nabcdefgh"] * 3
    assert len(ChatTokenizer.train(texts, 400).encode("abcdefgh")) == 1
    tokenizer = ChatTokenizer.train(texts, 400, piece_length=length)
    merges = range(len(tokenizer.special_ids) + 256, tokenizer.vocab_size)
    assert max(len(tokenizer.spell([token])) for token in merges) == length


def test_a_piece_length_that_allows_no_merge() -> None:
    with pytest.raises(UserError, match="piece_length must be at least 2, found 1"):
        ChatTokenizer.train(CORPUS, 400, piece_length=1)
