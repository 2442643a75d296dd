"""Scenes: that every one is written as it must be, and what conversations make of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from rxt.errors import UserError
from rxt.tasks.base import Told, TrainingSplit
from rxt.tasks.open.scoring import names
from rxt.tasks.registry import task
from rxt.tasks.scenes import ScenesConfig, talks
from rxt.tasks.scenes.scene import PLACE, read, scenes
from rxt.tasks.scenes.talks import generate
from rxt.tasks.scenes.task import Scenes

SCENES = Scenes(ScenesConfig())
LEFT = re.compile(r"[{}\[\]|*]|\(\)| / ")
CODE = re.compile(r"[*]\d+|\d+[*]|\d / \d")
"""Codes and telephone numbers have such signs of their own."""
FLAT = """
# a comment
: flat found
> we found a flat, on {street}, {price} a month
> {price} a month, that's the flat on {street}
< {street}, (lovely|how nice)! / Congratulations.
? what street is the flat on / where did we find a flat
^ and the street
= *{street}*. / It's on *{street}*.
! is the flat on {street} / did we find it on {street}
? what's the rent
= *{price}*.
- how many rooms are there
^ is it far
+ the rent is {price2} now / they want {price2} now
^ no, {price2}
< So it's {price2}.
~ {price} {price2}
& the flat has {count} windows
^ it has {count} windows
< {count}, all right.
? how many windows has the flat
^ and windows
= *{count}*. / It has *{count}*.
"""
DOG = """
: dog met
> i met a dog today, {pet}
< {pet}!
? which dog did i meet
^ which one
= *{pet}*.
- whose dog was it
"""


def made(split: TrainingSplit, turns: int, count: int, config: ScenesConfig | None = None) -> list[Told]:
    chosen = SCENES if config is None else Scenes(config)
    return [chosen.conversation(split, turns, 7, index) for index in range(count)]


def test_a_scene_is_read_as_it_is_written() -> None:
    (scene,) = read(FLAT, "home")
    assert (scene.title, scene.topic, scene.places) == ("flat found", "home", ("price", "street"))
    assert [len(scene.tell), len(scene.replies), len(scene.asks), len(scene.missing)] == [2, 2, 2, 1]
    assert scene.asks[0].ways == ("what street is the flat on", "where did we find a flat")
    assert [ask.part for ask in scene.asks] == ["{street}", "{price}"]
    assert [ask.checks for ask in scene.asks] == [("is the flat on {street}", "did we find it on {street}"), ()]
    assert (scene.asks[0].follow_ups, scene.missing_follow_ups) == (("and the street",), ("is it far",))
    (change,), (addition,) = scene.changes, scene.additions
    assert (change.old, change.new, len(change.ways), change.follow_ups) == ("price", "price2", 2, ("no, {price2}",))
    assert (addition.places, addition.ask.part, addition.ask.follow_ups) == (("count",), "{count}", ("and windows",))


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("> {price} a month, that's the flat on {street}", "> that's the flat on {street}", "leaves out price"),
        ("= *{price}*.", "= {price}.", "between stars"),
        ("= *{street}*. / It's on *{street}*.", "= *{street}*. / It's *on {street}*.", "between stars"),
        ("? what's the rent", "? what does {person} want", "person was not told"),
        ("! is the flat on {street} / did", "! is the flat far / did", "exactly one of the values"),
        ("! is the flat on {street} / did", "! is it {price} / did", "exactly one of the values"),
        ("! is the flat on {street}", "! is {street} with {person}", "person was not told"),
        ("~ {price} {price2}", "~ {person} {price2}", "person changes, which was not told"),
        ("~ {price} {price2}", "~ {price}", "names the value that changed"),
        ("- how many rooms are there\n", "", "in this order"),
        ("(lovely|how nice)!", "(lovely|how nice!", "brackets"),
        ("{street}", "{strasse}", "no kind of value strasse"),
        ("^ no, {price2}", "^ no, more", "a way of changing leaves out price2"),
        ("^ it has {count} windows", "^ it has windows", "count was not told"),
        ("? how many windows has the flat", "? what are the {count} windows", "count was not told"),
        ("^ and windows\n= *{count}*. / It has *{count}*.", "= *{count}*. / It has *windows*.", "between stars"),
    ],
)
def test_a_scene_written_wrongly_is_named(line: str, instead: str, message: str) -> None:
    assert line in FLAT
    with pytest.raises(ValueError, match=message) as raised:
        read(FLAT.replace(line, instead), "home")
    assert "home.txt line 3" in str(raised.value)


def test_every_scene_of_the_package_is_written_rightly_and_splits_share_none() -> None:
    train, validation, test = scenes("train"), scenes("validation"), scenes("test")
    every = [*train, *validation, *test]
    assert len({scene.title for scene in every}) == len(every)
    assert len(train) > 10 * len(validation) > 50
    assert len(test) > 20
    told = [way for scene in every for way in scene.tell]
    assert len(set(told)) == len(told)


def test_the_same_number_makes_the_same_conversation() -> None:
    assert made("train", 8, 5) == made("train", 8, 5)
    assert made("train", 8, 1) != made("validation", 8, 1)
    assert task("scenes", {"question_rate": 0.3}).settings == ScenesConfig(question_rate=0.3)


def test_every_answer_is_right_and_an_answer_to_another_question_is_not() -> None:
    asked = [
        (question, told.conversation.interactions[turn].answer)
        for told in made("train", 12, 80)
        for turn, question in (told.questions or {}).items()
    ]
    assert len(asked) > 400
    assert [answer for question, answer in asked if not question.correct(answer)] == []
    others = [question.correct(answer) for (question, _), (_, answer) in zip(asked, asked[7:], strict=False)]
    assert sum(others) < 0.2 * len(others)


def test_what_is_asked_was_told_in_the_turn_that_is_said() -> None:
    """The person's own message holds every drawn value that a right answer names."""
    drawn = {scene.title: {ask.part for ask in scene.asks if PLACE.fullmatch(ask.part)} for scene in scenes("train")}
    checked = 0
    for told in made("train", 10, 60, ScenesConfig(surface=False, change_rate=0.5)):
        for turn, question in (told.questions or {}).items():
            if question.told_turn is None:
                assert question.value is None
                assert not question.correct("In the kitchen.")
                continue
            assert question.value is not None
            assert question.told_turn < turn
            if drawn[question.kind] and question.value not in ("yes", "no"):
                message = told.conversation.interactions[question.told_turn].query
                checked += names(message, question.value)
    assert checked > 150


def test_changed_values_are_the_newest() -> None:
    changed = [
        question
        for told in made("train", 14, 60, ScenesConfig(change_rate=0.7))
        for question in (told.questions or {}).values()
        if getattr(question, "changed", False)
    ]
    assert len(changed) > 20
    assert all(question.value and not question.correct(question.wrong[0]) for question in changed)  # type: ignore[attr-defined]


@pytest.fixture
def two_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(FLAT + DOG, "home")
    monkeypatch.setattr(talks, "scenes", lambda split: known)


@pytest.mark.usefixtures("two_scenes")
def test_what_may_be_added_is_not_known_before() -> None:
    """The question for it has an answer after it was told, and none before."""
    known, unknown = 0, 0
    for told in made("train", 10, 200, ScenesConfig(surface=False, never_told_rate=0.4, addition_rate=0.3)):
        turns = told.conversation.interactions
        added = [turn for turn, each in enumerate(turns) if re.search(r"has .* windows", each.query)]
        assert len(added) <= 1
        for turn, question in (told.questions or {}).items():
            if "windows" in turns[turn].query.lower():
                assert (question.told_turn is None) == (not added or turn < added[0])
                if question.told_turn is None:
                    unknown += 1
                else:
                    known += 1
                    assert (question.told_turn, question.kind) == (added[0], "flat found")
                    assert question.value
                    assert question.value in turns[added[0]].query
    assert known > 20
    assert unknown > 20


def test_whether_something_is_so_is_answered_by_what_is_told_now() -> None:
    """A change makes what was so wrong; no value that is asked with in vain is the one that holds."""
    lent = FLAT.replace("= *{price}*.\n", "= *{price}*.\n! do we pay {price} of rent\n")
    mix = ScenesConfig(surface=False, check_rate=1.0, change_rate=0.5, never_told_rate=0.0)
    asked = re.compile(r"(?:do we pay (.+) of rent|is the flat on (.+)|did we find it on (.+))\?$", re.IGNORECASE)
    found = Counter[str]()
    with pytest.MonkeyPatch.context() as patched:
        known = read(lent, "home")
        patched.setattr(talks, "scenes", lambda split: known)
        for told in made("train", 8, 200, mix):
            turns = told.conversation.interactions
            for turn, question in (told.questions or {}).items():
                match = asked.match(turns[turn].query)
                if match is None:
                    continue
                value = next(filter(None, match.groups()))
                assert question.value is not None
                assert question.correct(turns[turn].answer)
                found[question.value] += 1
                # the newest turn that could have told it: the rent has changed where the question says so
                newest = turns[question.told_turn or 0].query
                assert names(newest, value) == (question.value == "yes")
                assert question.value == "yes" or not names(turns[turn].answer, value)
                found["was so"] += question.value == "no" and any(names(each.query, value) for each in turns[:turn])
    assert min(found["yes"], found["no"]) > 100
    assert found["was so"] > 10


@pytest.mark.usefixtures("two_scenes")
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_words_that_only_make_sense_after_a_turn_come_right_after_it(rate: float) -> None:
    after = {"flat": r"and the street|is it far|no, .*\d|it has .* windows$|and windows", "dog": "which one"}
    speaks = {"flat": r"flat|rent|they want|rooms|street|windows|is it far|\bno, ", "dog": "dog|which one"}
    found = 0
    rates = ScenesConfig(surface=False, never_told_rate=0.3, change_rate=0.3, addition_rate=0.3)
    mix = replace(rates, check_rate=0.0, follow_rate=rate)
    for told in made("train", 10, 60, mix):
        said = [each.query.lower().rstrip(".?!") for each in told.conversation.interactions]
        for turn, text in enumerate(said):
            for scene, words in after.items():
                if re.fullmatch(words, text):
                    found += 1
                    assert re.search(speaks[scene], said[turn - 1]), said[: turn + 1]
    assert found > 100 if rate else found == 0


def test_nothing_of_the_templates_is_left() -> None:
    for told in made("train", 12, 120, ScenesConfig(surface=False)):
        for interaction in told.conversation.interactions:
            for text in (interaction.query, interaction.answer):
                assert not LEFT.search(CODE.sub("", text)), text


def test_messages_are_no_longer_than_asked() -> None:
    for told in made("train", 8, 60, ScenesConfig(longest=200, surface=False)):
        assert all(len(each.query) + len(each.answer) < 280 for each in told.conversation.interactions)


@pytest.mark.parametrize("distance", [1, 4, 12])
@pytest.mark.parametrize("kind", ["told", "changed"])
def test_a_probe_asks_for_what_was_told_so_many_turns_earlier(distance: int, kind: str) -> None:
    for index in range(8):
        probe = SCENES.probe("test", distance, 1, index, kind)
        question = probe.last_question
        assert question.told_turn is not None
        assert question.turn - question.told_turn == distance
        assert question.turn == len(probe.conversation.interactions) - 1


def test_what_was_never_told_is_said_to_be_not_known() -> None:
    for index in range(20):
        probe = SCENES.probe("test", 6, 1, index, "never_told")
        assert probe.last_question.value is None
        assert probe.last_question.correct(probe.conversation.interactions[-1].answer)


def test_a_user_is_told_what_is_wrong() -> None:
    with pytest.raises(UserError, match="must leave room for telling"):
        ScenesConfig(question_rate=0.8, small_talk_rate=0.2)
    with pytest.raises(UserError, match="must not be more than 1 together"):
        ScenesConfig(change_rate=0.6, addition_rate=0.5)
    with pytest.raises(UserError, match="longest must be at least 100"):
        ScenesConfig(longest=10)
    with pytest.raises(UserError, match="turns must be at least 2"):
        generate("train", 1, 0, 0)
    with pytest.raises(UserError, match="distance must be at least 1"):
        SCENES.probe("test", 0, 0, 0)
