"""Answers that end before a text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxt.generation.text_stream import TextUntil


@given(
    text=st.text("abX", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
    ends=st.lists(st.text("abX", min_size=1, max_size=4), max_size=3),
)
def test_a_text_goes_up_to_the_first_end_however_it_comes(text: str, cuts: list[int], ends: list[str]) -> None:
    found = [(text.find(end) + len(end), text.find(end)) for end in ends if end in text]
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stream, shown = TextUntil(ends), ""
    for index in range(len(borders) - 1):
        shown += stream.push(text[borders[index] : borders[index + 1]], last=index == len(borders) - 2)
        assert not any(end in shown for end in ends)
    assert stream.reached == bool(found)
    assert shown == stream.shown == (text[: min(found)[1]] if found else text)


def test_nothing_is_held_back_that_cannot_become_an_end() -> None:
    stream = TextUntil(["\n\n", "END"])
    assert [stream.push(piece) for piece in ("one\n", "two E", "N", "x", " E", "ND.")] == [
        "one",
        "\ntwo ",
        "",
        "ENx",
        " ",
        "",
    ]
    assert (stream.reached, stream.shown, stream.push("more")) == (True, "one\ntwo ENx ", "")
