"""Open conversations: pure functions of their arguments, right answers that are right, splits that share no value."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from rxt.data.asked import UNKNOWN
from rxt.errors import UserError
from rxt.tasks.open.config import OpenConfig
from rxt.tasks.open.grammar import ME, Subject, choose, fill, lengths
from rxt.tasks.open.relations import BY_NAME, RELATIONS
from rxt.tasks.open.scoring import names
from rxt.tasks.open.talks import generate
from rxt.tasks.open.task import Open
from rxt.tasks.open.typists import CAREFUL, Typist, some_typist
from rxt.tasks.open.values import core, split_of
from rxt.tasks.open.values.kinds import KINDS

OPEN = Open(OpenConfig())
WORDS = {"v": "VALUE", "a": "ABOUT", "old": "OLDER", "thing": "THING"}


def test_alternatives_nest_and_verbs_take_their_form():
    seen = {choose("a (b|c (d|e)) f", Random(seed)) for seed in range(60)}
    assert seen == {"a b f", "a c d f", "a c e f"}
    assert lengths("a (b|c (d|e)) f") == 3
    assert (
        fill("{S} [play|plays] {v}", Random(0), ME, "person", {"v": "the (odd) [cello]"}) == "I play the (odd) [cello]"
    )
    assert fill("{S} [play|plays] {v}", Random(0), Subject("sister"), "model", {"v": "x"}) == "your sister plays x"
    assert fill("{s} dog", Random(0), Subject(name="Iris"), "model", {}) == "Iris' dog"


def test_somebody_just_spoken_of_goes_by_a_pronoun():
    sister, friend = Subject("sister", pronoun="she"), Subject("friend", pronoun="they")
    template = "{S} [play|plays] {v} with {s} [friends|friend]"
    assert fill(template, Random(0), sister, "person", {"v": "go"}, again=True) == "she plays go with her friend"
    assert fill(template, Random(0), friend, "person", {"v": "go"}, again=True).startswith("my friend plays go")
    assert fill(template, Random(0), ME, "person", {"v": "go"}, again=True) == "I play go with my friends"


def test_a_question_by_a_pronoun_is_about_whom_the_turn_before_spoke_of():
    pronoun, found = re.compile(r"\b(she|her|he|him|his)('s)?\b", re.IGNORECASE), 0
    for index in range(300):
        made = generate("train", 8, 3, index, OpenConfig(surface=False, pronoun_rate=1.0))
        whose = {(fact.relation.name, fact.value): fact.subject for fact in made.facts}
        for question in made.questions[1:]:
            subject = whose.get((question.kind, question.value or ""))
            before, asked = made.conversation.interactions[question.turn - 1 : question.turn + 1]
            name = subject and (subject.name or subject.relative)
            if name and not names(asked.query, name) and pronoun.search(asked.query):
                spoken_of = f"{before.query} {before.answer}"
                assert names(spoken_of, name) or pronoun.search(before.query), (before, asked)
                found += 1
    assert found > 30


def test_a_bracket_that_stays_open_is_an_error():
    with pytest.raises(ValueError, match="not closed"):
        choose("a (b|c", Random(0))


def test_there_are_150_relations_of_different_names_and_known_kinds():
    assert len(RELATIONS) >= 150
    assert len(BY_NAME) == len(RELATIONS)
    for relation in RELATIONS:
        assert relation.value in KINDS, relation
        assert relation.about is None or relation.about in KINDS, relation


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_every_template_of_a_relation_can_be_filled_and_says_what_it_must(relation):
    rng = Random(relation.name)
    subjects = [ME] if relation.whose == "me" else [Subject("sister"), Subject(name="Tom")]
    subjects += [ME] if relation.whose == "anyone" else []
    for subject in subjects:
        for template in (*relation.tell, *relation.change):
            text = fill(template, rng, subject, "person", WORDS)
            assert "VALUE" in text, template
            assert relation.about is None or "ABOUT" in text or "THING" in text or template in relation.change, template
        for template in relation.ask:
            text = fill(template, rng, subject, "person", WORDS)
            assert "VALUE" not in text, template
            assert relation.about is None or "ABOUT" in text or "THING" in text, template
        for template in relation.say:
            assert "VALUE" in fill(template, rng, subject, "model", WORDS), template
        for template in relation.find:
            assert "VALUE" in fill(template, rng, subject, "person", WORDS), template
        for template in (relation.thing, *relation.found, *relation.deny, *relation.denied):
            fill(template, rng, subject, "model", WORDS)
    assert bool(relation.find) == bool(relation.found)
    assert bool(relation.deny) == bool(relation.denied)


def test_a_conversation_is_a_function_of_its_arguments():
    assert generate("train", 8, 0, 3).conversation == generate("train", 8, 0, 3).conversation
    assert generate("train", 8, 0, 3).conversation != generate("train", 8, 0, 4).conversation
    assert generate("train", 8, 0, 3).conversation != generate("train", 8, 1, 3).conversation


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_values_of_a_split_are_its_own(split):
    for index in range(150):
        for fact in generate(split, 10, 0, index).facts:
            if fact.value and not KINDS[fact.relation.value].closed:
                assert split_of(fact.value) == split, fact


@pytest.mark.parametrize("kind", ["told", "changed", "never_told"])
@pytest.mark.parametrize("distance", [1, 4, 12])
def test_the_answers_of_the_generator_are_right_by_its_own_scorer(kind, distance):
    for index in range(60):
        probe = OPEN.probe("test", distance, 0, index, kind)
        assert probe.questions is not None
        for turn, question in probe.questions.items():
            answer = probe.conversation.interactions[turn].answer
            assert question.correct(answer), (question, answer)
        asked = probe.last_question
        if kind != "never_told":
            assert asked.told_turn == asked.turn - distance
            assert asked.turn == len(probe.conversation.interactions) - 1
            # said in no message or answer after it was told
            assert asked.value is not None
            assert asked.told_turn is not None
            between = probe.conversation.interactions[asked.told_turn + 1 : asked.turn]
            assert not any(names(text, asked.value) for turn in between for text in (turn.query, turn.answer))


def test_an_answer_that_names_another_value_is_wrong():
    probe = OPEN.probe("test", 2, 0, 5)
    asked = probe.last_question
    assert asked.value is not None
    assert asked.correct(f"It is {asked.value}.")
    assert not asked.correct("It is Nebukadnezar.")
    assert not asked.correct("I don't know.")


def test_what_was_never_told_is_admitted_and_nothing_is_named():
    probe = OPEN.probe("test", 6, 0, 2, "never_told")
    asked = probe.last_question
    assert asked.value is None
    assert UNKNOWN.search(probe.conversation.interactions[-1].answer)
    told = next(value for value in asked.wrong)  # pyright: ignore[reportAttributeAccessIssue]
    assert not asked.correct(f"I don't know, perhaps {core(told)}.")
    assert not asked.correct("Nebukadnezar.")


def test_a_crowded_probe_tells_so_many_facts():
    probe = OPEN.crowded_probe("test", 5, 7, 0, 0)
    assert len(probe.conversation.interactions) == 8
    assert probe.last_question.told_turn == 0


def test_typing_leaves_values_as_they_are_spelled():
    typist = Typist(slips=1.0)
    for seed in range(200):
        text = typist.type("my gecko is called Plumeria", ".", ("Plumeria", "gecko"), Random(seed))
        assert "Plumeria" in text
        assert "gecko" in text
    assert CAREFUL.type("I'm here", ".", (), Random(0)) == "I'm here."
    assert Typist(lower=1, bare=1, apostrophe="").type("I'm Ann", ".", (), Random(0)) == "im ann"
    assert Typist(shout=1, double=1).type("I'm Ann", "!", (), Random(0)).startswith("I'M ANN!!")


def test_people_type_in_many_ways():
    habits = Counter(some_typist(Random(seed)) == CAREFUL for seed in range(400))
    assert 0.2 < habits[True] / 400 < 0.45


def test_settings_that_make_no_sense_are_one_line():
    with pytest.raises(UserError, match="question_rate must be from 0 to 1"):
        OpenConfig(question_rate=2)
    with pytest.raises(UserError, match="no relation nonsense"):
        OpenConfig(relations=("nonsense",))
    with pytest.raises(UserError, match="turns must be at least 2"):
        generate("train", 1, 0, 0)


def test_some_replies_to_what_asks_nothing_are_learned_in_training():
    few, half = Open(OpenConfig(reply_rate=0)), Open(OpenConfig(reply_rate=0.5))
    learned = Counter[bool]()
    for index in range(40):
        usual = OPEN.conversation("train", 8, 0, index)
        assert usual.conversation.unlearned == frozenset()
        quiet = few.conversation("train", 8, 0, index)
        assert quiet.conversation.interactions == usual.conversation.interactions
        assert quiet.conversation.unlearned == set(range(8)) - set(usual.questions or ())
        between = half.conversation("train", 8, 0, index).conversation.unlearned
        assert between <= quiet.conversation.unlearned
        learned.update(turn not in between for turn in quiet.conversation.unlearned)
        assert few.conversation("validation", 8, 0, index).conversation.unlearned == frozenset()
    assert 0.35 < learned[True] / learned.total() < 0.65
