"""What is counted of the talks and of the ways of typing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from factories import remembering_model, tiny_config, tiny_tokenizer
from rxt.data.template import Template
from rxt.evaluation.open_answers import HeldTalk, hold_talks, score_talks, span, type_facts
from rxt.evaluation.open_talks import bundled_talks, read_talks, text_of
from rxt.evaluation.subject import Reactive, Subject
from rxt.evaluation.ways_of_typing import WAYS
from rxt.generation.conversation import Conversation

TALKS = read_talks("""
== one
= Rex, 9
- my dog is rex
? told 1 | what is he called? | rex | Rex.
? never_told | and my cat? | I don't know.
- he is 8
- no, 9
? changed 5 | how old is he? | 9 | 9. | 8
== two
= none
- hello
? never_told | who am i? | I don't know.
? never_told | who are you? | I don't know.
""")


def template() -> Template:
    return Template(tiny_tokenizer(), "alpha", 4 * tiny_config().max_length)  # so that no query is too long


class Heard(Subject[tuple[str, ...]]):
    """Answers by a function of what one conversation's person has said; a state has a text for each conversation."""

    def __init__(self, answers: Callable[[str], str]) -> None:
        super().__init__(template())
        self.answers = answers

    def start(self, batch_size: int, seed: int) -> tuple[str, ...]:
        return ("",) * batch_size

    def answer(self, prompts: Sequence[list[int]], state: tuple[str, ...], max_new_tokens: int = 48) -> list[list[int]]:
        asked = [tiny_tokenizer().decode(prompt[2:-1]) for prompt in prompts]  # between [Q] and [A]
        return [tiny_tokenizer().encode(self.answers(heard + query)) for heard, query in zip(state, asked, strict=True)]

    def remember(self, state: tuple[str, ...], interactions: Sequence[list[int]]) -> tuple[str, ...]:
        answer = tiny_tokenizer().tokens.answer
        assert answer is not None
        ends = [ids.index(answer) for ids in interactions]
        said = [tiny_tokenizer().decode(ids[2:end]) for ids, end in zip(interactions, ends, strict=True)]
        return tuple(f"{heard}{query}\n" for heard, query in zip(state, said, strict=True))

    def take(self, state: tuple[str, ...], rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(state[row] for row in rows)

    def join(self, states: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(heard for state in states for heard in state)

    def state_bytes(self, state: tuple[str, ...]) -> int:
        return 0


def held(*answers: Sequence[str]) -> list[HeldTalk]:
    return [HeldTalk(talk, tuple(said)) for talk, said in zip(TALKS, answers, strict=True)]


def test_every_question_is_counted_where_it_belongs() -> None:
    found = score_talks(
        held(
            ("Nice!", "He's called Rex.", "Your cat is Felix.", "OK.", "OK.", "You haven't told me."),
            ("Felix!", "I don't know. A banker?", "I don't know."),
        )
    )
    counts = {name: (share.count, share.of) for name, share in vars(found).items() if name != "by_distance"}
    assert counts == {
        "right": (1, 2),
        "told": (1, 1),
        "changed": (0, 1),
        "never_told": (2, 3),
        "invented": (2, 5),
        "invented_told": (0, 2),
        "invented_never_told": (2, 3),
        "denied": (1, 2),
    }
    assert found.right.estimate.value == 0.5
    assert found.invented.estimate.low <= 0.4 <= found.invented.estimate.high
    assert {at: (share.count, share.of) for at, share in found.by_distance.items()} == {(1, 1): (1, 2)}


def test_a_right_answer_is_never_denied_and_invents_nothing() -> None:
    answers = [[m if isinstance(m, str) else m.answer for m in talk.messages] for talk in bundled_talks()]
    found = score_talks([HeldTalk(talk, tuple(said)) for talk, said in zip(bundled_talks(), answers, strict=True)])
    assert found.right.estimate.value == found.never_told.estimate.value == 1.0
    assert found.invented.count == found.denied.count == 0
    assert sum(share.of for share in found.by_distance.values()) == found.right.of


def test_the_old_value_is_wrong_but_not_invented() -> None:
    (one, _) = held(("", "Rex.", "I don't know.", "", "", "He is 8."), ("", "", ""))
    judged = one.judged[6]
    assert not judged.right
    assert judged.invented == ()
    assert replace(one, answers=(*one.answers[:5], "He is 7.")).judged[6].invented == ("7",)


def test_talks_without_such_questions_have_no_share() -> None:
    found = score_talks(held(*[[""] * len(talk.messages) for talk in TALKS])[1:])
    assert found.right.of == 0
    assert math.isnan(found.right.estimate.value)
    assert found.by_distance == {}


def test_talks_are_held_as_in_a_chat() -> None:
    model, reports = remembering_model(), list[int]()
    chats = Template(tiny_tokenizer(), "alpha", tiny_config().max_length)
    talks = hold_talks(Reactive(model, chats), TALKS, 3, reports.append, longest_answer=12)
    assert [each.talk for each in talks] == list(TALKS)
    assert sum(reports) == 2
    fresh = model.init_memory(2, 3)
    for row, each in enumerate(talks):
        chat = Conversation(model, tiny_tokenizer(), max_new_tokens=12, memory=fresh.select(row))
        assert each.answers == tuple(chat.ask(text_of(message)) for message in each.talk.messages)


def test_the_ways_of_typing_are_counted_apart() -> None:
    """Somebody who repeats all that was said is right everywhere, but for one who cannot read capitals."""
    reports: list[int] = []
    assert {way: score.share for way, score in type_facts(Heard(lambda said: said), 1, reports.append).items()} == {
        way: 1.0 for way in WAYS
    }
    assert sum(reports) == 30 * len(WAYS)
    found = type_facts(Heard(lambda said: "" if said.isupper() else said), 1)
    assert {way for way, score in found.items() if score.share < 1} == {"capitals"}
    assert {score.asked for score in found.values()} == {30}


@pytest.mark.parametrize(
    ("distance", "found"),
    [(1, (1, 1)), (2, (2, 2)), (3, (3, 4)), (4, (3, 4)), (5, (5, 8)), (16, (9, 16)), (17, (17, 32))],
)
def test_distances_double(distance: int, found: tuple[int, int]) -> None:
    assert span(distance) == found
