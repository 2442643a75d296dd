"""Texts that are longer than an interaction: nothing of them is lost, and every piece fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxt.data.pieces import cut_to_fit, in_pieces, opening, room_for_query
from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer

TOKENIZERS = {
    name: ChatTokenizer.train(["hello there, how are you", "a kind word. And one more!"] * 3, 310, name)  # type: ignore[arg-type]
    for name in ("alpha", "beta")
}


def template(name: str, length: int = 48) -> Template:
    return Template(TOKENIZERS[name], name, length)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["alpha", "beta"])
@settings(max_examples=60, deadline=None)
@given(query=st.text(max_size=300), answer=st.text(max_size=300))
def test_nothing_is_lost_but_space_between_pieces(name: str, query: str, answer: str) -> None:
    made = template(name)
    pieces = in_pieces(made, query, answer)
    whole = [*pieces.lead, made.complete(pieces.prompt, pieces.said)]
    tokens = made.tokens
    said: dict[int | None, str] = {tokens.query: "", tokens.answer: ""}
    for ids in whole:
        assert len(ids) <= made.max_length
        assert (ids[0], ids[1], ids[-1]) == (tokens.bos, tokens.query, tokens.eos)
        middle = list(ids).index(tokens.answer)
        said[tokens.query] += made.tokenizer.decode(list(ids[2:middle]))
        said[tokens.answer] += made.tokenizer.decode(list(ids[middle + 1 : -1]))
    assert "".join(said[tokens.query].split()) == "".join(query.split())
    assert "".join(said[tokens.answer].split()) == "".join(answer.split())
    assert len(pieces.prompt) <= made.max_length - made.reserve, "there is room for an answer"


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_what_fits_is_one_piece_and_the_prompt_that_it_would_be(name: str) -> None:
    made = template(name)
    pieces = in_pieces(made, "hello there", "hi")
    assert pieces.lead == ()
    assert list(pieces.prompt) == made.prompt("hello there")
    assert made.complete(pieces.prompt, pieces.said) == made.interaction(Interaction("hello there", "hi")).ids
    longest = "a " * 100
    while len(made.tokenizer.encode(longest)) > room_for_query(made):
        longest = longest[:-1]
    assert in_pieces(made, longest).lead == ()
    made.prompt(longest)
    assert len(in_pieces(made, longest + " there there").lead) == 1


def test_texts_are_cut_between_sentences_then_between_words() -> None:
    count = len
    assert cut_to_fit("One two. Three four. Five.", count, 20, 20) == ["One two. Three four.", "Five."]
    assert cut_to_fit("one two three four", count, 9, 9) == ["one two", "three", "four"]
    assert cut_to_fit("abcdefgh", count, 4, 4) == ["abcd", "efgh"]
    assert cut_to_fit("Long one. B.", count, 3, 9) == ["", "Long one.", "B."]


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_a_system_prompt_is_one_interaction_and_tells_when_it_was_cut(name: str) -> None:
    made = template(name)
    short, long = opening(made, "be kind"), opening(made, "be kind " * 3000)
    assert (short.cut, long.cut) == (False, True)
    expected = made.interaction(Interaction("be kind", "")) if name == "alpha" else made.system("be kind")
    assert short.ids == expected.ids
    assert len(long.ids) == made.max_length
    assert not any(short.loss)
