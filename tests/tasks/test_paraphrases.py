"""The further ways to speak: that they say what they should, that training shows them, and that no test phrasing is
among them."""

from __future__ import annotations

import re
from itertools import product

import pytest

from rxt.tasks.everyday import EverydayConfig, EverydayConversation, generate
from rxt.tasks.everyday.generate import USUAL_KINDS
from rxt.tasks.everyday.paraphrases import FAVOURITES, PETS, frames, paraphrases
from rxt.tasks.everyday.phrases import ALL_KINDS, kind_of

BOTH = [(kind, mine) for kind in USUAL_KINDS for mine in (True, False)]
TRAINING = EverydayConfig(paraphrase_rate=0.6, never_told_rate=0.2, change_rate=0.25, other_people_rate=0.3)


def plain(text: str) -> str:
    """Lower case, words alone, with a space around each."""
    words = re.sub(r"[^\w{}]+", " ", text.lower().replace("{av}", "{v}")).strip()
    return f" {words} "


def held_out() -> set[str]:
    phrases = [part for kind in ALL_KINDS for part in (kind.mine, kind.theirs) if part is not None]
    return {
        plain(each) for part in phrases for each in (*part.tell_held_out, *part.ask_held_out, *part.change_held_out)
    }


@pytest.mark.parametrize(("kind", "mine"), BOTH)
def test_every_entry_has_its_places(kind: str, mine: bool) -> None:
    ways = paraphrases(kind, mine)
    assert min(map(len, (ways.tell, ways.ask, ways.indirect, ways.noun))) >= 6
    assert bool(ways.change) == kind_of(kind).phrases("me" if mine else "sister").changeable
    for entry in (*ways.tell, *ways.change):
        assert len(re.findall(r"\{a?v\}", entry)) == 1, entry
    for entry in (*ways.ask, *ways.indirect, *ways.noun):
        assert not re.search(r"\{a?v\}", entry), entry
    for entry in (*ways.tell, *ways.change, *ways.ask, *ways.indirect, *ways.noun):
        assert ("my {s}" in entry.lower()) == (not mine), entry
        assert set(re.findall(r"\{\w+\}", entry)) <= {"{v}", "{av}", "{s}"}, entry
        assert not re.search(r"PET|NOUN|PLURAL", entry), entry


def test_frames_hold_one_thing() -> None:
    assert all(frame.count("{c}") == 1 for frame in (*frames().tell, *frames().indirect, *frames().change))
    assert all(frame.count("{n}") == 1 for frame in frames().noun)


def test_no_held_out_phrasing_can_be_said() -> None:
    """Every clause in every frame, for every kind: 40,000 messages."""
    around = frames()
    tests = held_out()
    for kind, mine in BOTH:
        ways = paraphrases(kind, mine)
        messages = [*ways.tell, *ways.ask, *ways.change]
        for frame, clause in (
            *product(around.tell, ways.tell),
            *product(around.indirect, ways.indirect),
            *product(around.noun, ways.noun),
            *product(around.change, ways.change),
        ):
            messages.append(frame.replace("{c}", clause).replace("{n}", clause))
        for message in map(plain, messages):
            found = [each for each in tests if each in message]
            assert not found, (message, found)


def test_training_conversations_use_them_and_the_others_do_not() -> None:
    usual = [query for index in range(60) for query in said(generate("train", 12, 0, index))]
    varied = [query for index in range(60) for query in said(generate("train", 12, 0, index, TRAINING))]
    assert len(set(varied)) > 1.1 * len(set(usual))
    assert any(
        "by the way, something has changed" in query.lower()
        for index in range(600)
        for query in said(generate("train", 12, 1, index, TRAINING))
    )
    unseen = EverydayConfig(paraphrase_rate=1.0)
    assert said(generate("test-unseen-phrasings", 12, 0, 3, unseen)) == said(
        generate("test-unseen-phrasings", 12, 0, 3)
    )


def said(case: EverydayConversation) -> list[str]:
    return [interaction.query for interaction in case.conversation.interactions]


def test_sentences_begin_and_end_as_sentences_do() -> None:
    careful = EverydayConfig(paraphrase_rate=1.0, surface_rate=0.0, multi_fact_rate=0.0)
    for index in range(150):
        for query in said(generate("train", 12, 2, index, careful)):
            assert query[0].isupper() or query[0].isdigit(), query
            assert query[-1] in ".?!", query
            assert not re.search(r"\{|  ", query), query


def test_pets_and_favourites_share_theirs() -> None:
    for kind in PETS:
        assert all(re.search(rf"\b{kind}", entry, re.IGNORECASE) for entry in paraphrases(kind, True).tell)
    for kind in FAVOURITES:
        assert any(kind in entry for entry in paraphrases(kind, False).ask)
    assert all("the {v}" in entry for entry in paraphrases("animal", True).tell)
