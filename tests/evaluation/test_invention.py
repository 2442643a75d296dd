"""What counts as invented: values that nobody said, in any case, and neither fillers nor what was said."""

from __future__ import annotations

import pytest

from rxt.evaluation.invention import invented_words
from rxt.tasks.everyday.small_talk import GREETINGS
from rxt.tasks.registry import task

SAID = (
    "hi, im wendelin",
    "i repair accordions in graz, mostly old hohners",
    "our cat Bún moved to Huế, we have three hens and the dentist is at 9:15 or 14:30",
    "my sister conducts a choir, order QX-7719-B came on the 3rd",
    "and what do i repair?",
)


@pytest.mark.parametrize(
    "answer",
    [
        "You repair accordions.",
        "It's an accordion!",
        "You're repairing old Hohners in Graz, Wendelin.",
        "Your cat is called Bun.",
        "3 hens.",
        "The hen, I think.",
        "You've got three of them, that's lovely!",
        "At 9.15.",
        "On the third.",
        "qx7719b",
        "I'd love to hear more about it.",
        "I see, I won't forget that.",
        "Sorry, I'm not quite sure what you mean. Could you remind me, please?",
        "Good question! I remember you told me about your work.",
        "Yes, you did.",
        "You haven't told me your favourite colour.",
        "I don't know your umbrella, but I would like to.",
        "You never mentioned a brother, Wendelin.",
        "I don't think you've told me about a tortoise, so I don't know.",
        "😊",
        "",
    ],
)
def test_what_was_said_and_fillers_are_no_invention(answer: str) -> None:
    assert invented_words(answer, SAID) == ()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("I respect people who work as a banker.", ("banker",)),
        ("you repair violins in vienna", ("violins", "vienna")),
        ("You're called Joseph.", ("joseph",)),
        ("Her name is Wendelina.", ("wendelina",)),
        ("You have 4 hens.", ("4",)),
        ("You have four hens.", ("four",)),
        ("At 9:30.", ("9:30",)),
        ("It is QX-7719-C.", ("qx-7719-c",)),
        ("Your conductor's name is O'Brien.", ("conductor", "o'brien")),
        ("You live in 東京.", ("東京",)),
        ("You haven't told me. I think it's Felix.", ("felix",)),
        ("I don't know, perhaps a tortoise", ("tortoise",)),
        ("It's red", ("red",)),
    ],
)
def test_a_value_that_nobody_said_is_invented(answer: str, words: tuple[str, ...]) -> None:
    assert invented_words(answer, SAID) == words


def test_what_a_question_names_has_been_said() -> None:
    assert invented_words("The trombone sounds beautiful.", ["who plays the trombone?"]) == ()
    assert invented_words("The piano sounds beautiful.", ["who plays the trombone?"]) == ("piano",)


@pytest.mark.parametrize("kind", ["told", "changed", "never_told"])
def test_right_answers_invent_nothing_and_those_to_others_do(kind: str) -> None:
    """The generator's own answers, in all their wordings, and a value that was told in another conversation."""
    everyday = task("everyday")
    cases = [everyday.probe("test", 1 + index % 16, 5, index, kind) for index in range(300)]
    answers = [case.conversation.interactions[-1].answer for case in cases]
    wrong = {answer: invented_words(answer, case.queries) for case, answer in zip(cases, answers, strict=True)}
    assert {answer: words for answer, words in wrong.items() if words} == {}
    others = [
        (case, answer)
        for case, answer in zip(cases, answers[1:], strict=False)
        if not case.last_question.correct(answer)
    ]
    caught = sum(bool(invented_words(answer, case.queries)) for case, answer in others)
    if kind == "never_told":
        assert others == []
    else:
        assert caught >= 0.95 * len(others) > 200


def test_greetings_invent_nothing() -> None:
    answers = [answer for group in GREETINGS for answer in group.answers]
    said = [query for group in GREETINGS for query in group.queries]
    assert len(answers) > 10
    assert {answer: found for answer in answers if (found := invented_words(answer, said))} == {}
