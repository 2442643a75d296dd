"""What becomes of interactions that are longer than a model has room for."""

from __future__ import annotations

import pytest

from factories import tiny_tokenizer
from rxt.config import Marker, Markers
from rxt.data.fitting import (
    Lengths,
    fitted_conversation,
    fitted_turns,
    lengths_of,
    split_interaction,
    unlimited,
)
from rxt.data.markup import Encoded, Part
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Template

LENGTH = 24
BASE = Markers((1,), Marker((40, 41)), Marker((42, 43)), (44, 2), Marker((45,)), (2,))
ALPHA = Template(tiny_tokenizer(), "alpha", LENGTH)
BETA = Template(tiny_tokenizer("beta"), "beta", LENGTH)
ON_BASE = Template(tiny_tokenizer(), "alpha", LENGTH, markers=BASE)


def parts_by_name(turn: Encoded, template: Template) -> dict[str, Part]:
    return {part.name: part for part in template.markup.parts_of(turn)}


@pytest.mark.parametrize("template", [ALPHA, BETA, ON_BASE], ids=["alpha", "beta", "base"])
@pytest.mark.parametrize("asked", [0, 1, 7, 11, 30, 70])
@pytest.mark.parametrize("said", [0, 1, 9, 12, 31, 90])
def test_no_token_is_lost_and_every_turn_fits(template: Template, asked: int, said: int) -> None:
    query, answer = [50 + index % 9 for index in range(asked)], [60 + index % 9 for index in range(said)]
    learn_marker = not template.markup.told
    whole = template.markup.whole(
        [Part("query", query), Part("answer", answer, learn_marker, True)], unlimited(template).max_length
    )
    turns = fitted_turns(whole, template, "split")
    assert all(len(turn.ids) <= LENGTH for turn in turns)
    assert (len(turns) == 1) == (len(whole.ids) <= LENGTH)
    end = len(template.markup.end)
    assert all(tuple(turn.ids[-end:]) == template.markup.end for turn in turns)
    queries, answers = list[int](), list[int]()
    for turn in turns:
        inside = list(turn.ids[len(template.markup.begin) + len(template.markup.parts["query"].ids) : -end])
        marker = list(template.markup.parts["answer"].ids)
        at = next(i for i in range(len(inside)) if inside[i : i + len(marker)] == marker)
        queries += inside[:at]
        answers += inside[at + len(marker) :]
    assert (queries, answers) == (query, answer)
    learned = [token for turn in turns for token, target in zip(turn.ids, turn.loss, strict=True) if target]
    assert [token for token in learned if token >= 60] == answer
    asks = next(turn for turn in turns if any(turn.loss))
    assert sum(50 <= token < 60 for token in asks.ids) >= min(asked, (LENGTH - template.markup.size) // 2)


def test_what_is_told_before_is_not_learned() -> None:
    whole = unlimited(ALPHA).interaction(Interaction("why " * 30, "so"))
    *told, asks = split_interaction(whole, ALPHA)
    assert len(told) > 1
    assert not any(any(turn.loss) for turn in told)
    assert ALPHA.answer_text(parts_by_name(asks, ALPHA)["answer"].ids) == "so"


def test_what_is_not_to_be_learned_is_not_learned_in_turns_either() -> None:
    long = Conversation((Interaction("why", "because " * 30),), unlearned=frozenset({0}))
    (turns,) = fitted_conversation(long, ALPHA, "split", 99)
    assert len(turns) > 2
    assert not any(any(turn.loss) for turn in turns)


def test_thinking_stands_before_the_answer_and_a_tool_call_after_it() -> None:
    said = Interaction("ask", "answer " * 20, think="hm", tool_call="go")
    turns = split_interaction(unlimited(BETA).interaction(said), BETA)
    assert len(turns) > 2
    names = [[*parts_by_name(turn, BETA)] for turn in turns]
    assert names[0] == ["query", "think", "answer"]
    assert names[-1] == ["query", "answer", "tool_call"]
    assert all(each == ["query", "answer"] for each in names[1:-1])


def test_thinking_without_room_beside_it_is_cut_as_ever() -> None:
    said = Interaction("ask", "answer", think="hm " * 40)
    assert fitted_turns(unlimited(BETA).interaction(said), BETA, "split") == [BETA.interaction(said)]


def test_cutting_and_dropping() -> None:
    short, long = Interaction("hello", "hi"), Interaction("why? " * 30, "so")
    whole = Conversation((short, long, short))
    assert fitted_conversation(whole, ALPHA, "cut", 99) == [[ALPHA.interaction(each) for each in (short, long, short)]]
    assert fitted_conversation(whole, ALPHA, "drop", 99) == [[ALPHA.interaction(short)] * 2]
    assert fitted_conversation(Conversation((long,)), ALPHA, "drop", 99) == []


def test_pieces_have_their_turns_and_the_system_prompt() -> None:
    whole = Conversation((Interaction("hello", "hi"), Interaction("why", "because " * 30)), "kind " * 30)
    (all_turns,) = fitted_conversation(whole, BETA, "split", 99)
    pieces = fitted_conversation(whole, BETA, "split", 2)
    assert [turn for piece in pieces for turn in piece[1:]] == all_turns[1:]
    assert {len(piece) for piece in pieces[:-1]} == {3}
    assert all(piece[0] == BETA.system("kind " * 30) for piece in pieces)


def test_the_warning_says_how_many_and_what_makes_room() -> None:
    long = unlimited(ALPHA).interaction(Interaction("why? " * 30, "so"))
    conversations = [Conversation((Interaction("hello", "hi"), Interaction("why? " * 30, "so")))]
    lengths = lengths_of(conversations, ALPHA)
    assert lengths == Lengths(2, 1, len(long.ids))
    told = lengths.warning(LENGTH, "split")
    assert told is not None
    assert told.startswith(
        f"1 of 2 interactions are longer than {LENGTH} tokens and are split into several turns (--lo"
    )
    assert f"--set model.decoder.max_length={len(long.ids)} " in told
    assert Lengths(2, 0, 9).warning(LENGTH, "cut") is None
