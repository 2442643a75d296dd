"""Conversations about deeds: what they tell, what they ask, and that the right answers are right."""

from __future__ import annotations

import re

import pytest

from rxt.errors import UserError
from rxt.tasks.base import Told, TrainingSplit
from rxt.tasks.deeds import DeedsConfig
from rxt.tasks.deeds.deed import OBJECTS
from rxt.tasks.deeds.talks import generate
from rxt.tasks.deeds.task import Deeds
from rxt.tasks.deeds.verbs import VERBS
from rxt.tasks.open.scoring import names
from rxt.tasks.open.talks import Question
from rxt.tasks.registry import task

DEEDS = Deeds(DeedsConfig())
LEFT = re.compile(r"[{}\[\]|]|[:,] .[?]|\b(ASK|DOES|THING|BASE|THIRD|PAST|ING)\b")


def made(split: TrainingSplit, turns: int, count: int, config: DeedsConfig | None = None) -> list[Told]:
    chosen = DEEDS if config is None else Deeds(config)
    return [chosen.conversation(split, turns, 7, index) for index in range(count)]


def test_the_same_number_makes_the_same_conversation() -> None:
    assert made("train", 8, 5) == made("train", 8, 5)
    assert made("train", 8, 1) != made("validation", 8, 1)
    assert task("deeds", {"question_rate": 0.3}).settings == DeedsConfig(question_rate=0.3)


def test_every_answer_is_right_and_an_answer_to_another_question_is_not() -> None:
    asked = [
        (question, told.conversation.interactions[turn].answer)
        for told in made("train", 12, 60)
        for turn, question in (told.questions or {}).items()
    ]
    assert len(asked) > 250
    assert all(question.correct(answer) for question, answer in asked)
    others = [question.correct(answer) for (question, _), (_, answer) in zip(asked, asked[7:], strict=False)]
    assert sum(others) < 0.2 * len(others)


def test_what_is_asked_was_told_in_the_turn_that_is_said() -> None:
    """The person's own message holds the value, and nobody is asked for what was never told but to say so."""
    for told in made("train", 10, 40, DeedsConfig(surface=False, change_rate=0.4)):
        for turn, question in (told.questions or {}).items():
            if question.told_turn is None:
                assert question.value is None
                assert not question.correct("In the kitchen.")
                continue
            assert question.value is not None
            assert question.told_turn < turn
            message = told.conversation.interactions[question.told_turn].query
            assert names(message, question.value)


def test_nothing_of_the_templates_is_left() -> None:
    for told in made("train", 12, 80, DeedsConfig(surface=False)):
        for interaction in told.conversation.interactions:
            assert not LEFT.search(interaction.query), interaction.query
            assert not LEFT.search(interaction.answer), interaction.answer


def test_training_and_evaluation_share_no_value() -> None:
    def values(split: TrainingSplit) -> set[str]:
        found = [question.value for told in made(split, 12, 60) for question in (told.questions or {}).values()]
        # days, months and numbers of things are few, and relatives are relatives
        return {value for value in found if value and value[:1].isupper() and " " in value and len(value) > 12}

    train, validation = values("train"), values("validation")
    assert len(validation) > 20
    assert not train & validation


@pytest.mark.parametrize("distance", [1, 4, 12])
def test_a_probe_asks_for_what_was_told_so_many_turns_earlier(distance: int) -> None:
    for index in range(10):
        told = DEEDS.probe("test", distance, 3, index)
        question = told.last_question
        assert question.turn == len(told.conversation.interactions) - 1
        assert question.told_turn == question.turn - distance
        assert question.correct(told.conversation.interactions[-1].answer)


def test_a_change_is_what_counts() -> None:
    """The value before a change is wrong, and the question knows that there was one."""
    config = DeedsConfig(change_rate=0.8, question_rate=0.3, never_told_rate=0.0)
    changed = [
        question
        for told in made("train", 14, 40, config)
        for question in (told.questions or {}).values()
        if isinstance(question, Question) and question.changed
    ]
    assert len(changed) > 20


def test_replies_are_learned_as_often_as_asked_for() -> None:
    none = made("train", 10, 10, DeedsConfig(reply_rate=0.0))
    for told in none:
        turns = set(range(len(told.conversation.interactions)))
        assert told.conversation.unlearned == turns - set(told.questions or {})
    assert not any(told.conversation.unlearned for told in made("train", 10, 10))


def test_every_verb_has_objects() -> None:
    assert all(kind in OBJECTS for verb in VERBS for kind in verb.objects)
    assert len({verb.base for verb in VERBS}) == len(VERBS)


def test_mistakes_are_said() -> None:
    with pytest.raises(UserError, match="at least 2"):
        generate("train", 1, 0, 0)
    with pytest.raises(UserError, match="at least 1"):
        DEEDS.probe("test", 0, 0, 0)
    with pytest.raises(UserError, match="from 0 to 1"):
        DeedsConfig(change_rate=1.5)
    with pytest.raises(UserError, match="leave room"):
        DeedsConfig(question_rate=0.8, small_talk_rate=0.2)


def test_somebody_told_by_relation_and_name_is_asked_for_by_either() -> None:
    """ "My sister Ana" is told so; a question says "my sister", "Ana" or both, and an answer both."""
    asked = {"both": 0, "name": 0, "relation": 0, "who": 0}
    mix = DeedsConfig(surface=False, relative_rate=1.0, other_people_rate=1.0, never_told_rate=0.0)
    for told in made("train", 10, 60, mix):
        turns = told.conversation.interactions
        people = {
            (noun, name)
            for turn in turns
            for noun, name in re.findall(r"\b[Yy]our (\w+) (\w+)", turn.answer)
            if name[0].isupper()
        }
        for turn, question in (told.questions or {}).items():
            query, answer = turns[turn].query, turns[turn].answer
            for noun, name in people:
                if question.value == name and f"our {noun} {name}" in answer:
                    asked["who"] += 1
                    assert question.told_turn is not None
                    assert f"y {noun} {name}" in turns[question.told_turn].query
                by_name, by_relation = re.search(rf"\b{name}\b", query), re.search(rf"\b[Mm]y {noun}\b", query)
                if by_name and by_relation:
                    asked["both"] += 1
                elif by_name:
                    asked["name"] += 1
                elif by_relation:
                    asked["relation"] += 1
    assert all(count > 10 for count in asked.values()), asked
