from __future__ import annotations

import re
import time
from collections import Counter
from itertools import combinations
from typing import get_args

import pytest

from rxt.errors import UserError
from rxt.tasks.everyday import (
    EverydayConfig,
    EverydayConversation,
    Question,
    Split,
    corpus_lines,
    generate,
    kinds,
    retention_conversation,
    values_of,
)
from rxt.tasks.everyday.phrase_types import EVERYBODY, NEVER_TOLD
from rxt.tasks.everyday.phrases import ALL_KINDS
from rxt.tasks.everyday.small_talk import GREETINGS, GROUPS
from rxt.tasks.everyday.splits import pair_split
from rxt.tasks.everyday.values import with_article

SPLITS: tuple[Split, ...] = get_args(Split)
ALL_PHRASES = [(kind, phrases) for kind in ALL_KINDS for phrases in (kind.mine, kind.theirs) if phrases is not None]
IDS = [f"{kind.name}-{'mine' if phrases is kind.mine else 'theirs'}" for kind, phrases in ALL_PHRASES]
MANY = 250


def asked(value: str | None, kind: str) -> Question:
    return Question(1, "me", kind, value, None if value is None else 0, False)


def fill(template: str, value: str, subject: str = "best friend") -> str:
    return template.format(v=value, av=with_article(value), s=subject)


def normal(text: str) -> str:
    """Without case, punctuation and contractions, so that only the wording counts."""
    text = text.lower()
    for short, long in (
        ("what's", "what is"),
        ("where's", "where is"),
        ("i'm", "i am"),
        ("it's", "it is"),
        ("name's", "name is"),
    ):
        text = text.replace(short, long)
    return re.sub(r"[^\w{} ]", "", text)


def conversations(split: Split, turns: int = 12, count: int = MANY, seed: int = 5) -> list[EverydayConversation]:
    return [generate(split, turns, seed, index) for index in range(count)]


def pairs(conversation: EverydayConversation) -> set[frozenset[tuple[str, str]]]:
    values = {(fact.kind, fact.value) for fact in conversation.facts}
    return {frozenset(pair) for pair in combinations(sorted(values), 2)}


# --- content -----------------------------------------------------------------------------------------------------


def test_there_are_enough_kinds_and_values_and_every_value_can_be_told_apart() -> None:
    assert len(kinds()) >= 14
    for kind in kinds():
        values = values_of(kind)
        assert len(values) >= 40, kind
        assert len({value.lower() for value in values}) == len(values), kind
        for value in values:
            inside = [
                other
                for other in values
                if other != value and re.search(rf"\b{re.escape(value)}\b", other, re.IGNORECASE)
            ]
            assert not inside, (kind, value)
    assert {int(age) for age in values_of("age")} == set(range(18, 80))
    assert {"Rex", "Luna", "Milo", "Bella", "Max"} <= set(values_of("dog"))


def test_there_is_no_such_kind() -> None:
    with pytest.raises(UserError, match="no kind of fact called 'shoe'"):
        values_of("shoe")


@pytest.mark.parametrize(("kind", "phrases"), ALL_PHRASES, ids=IDS)
def test_every_kind_has_enough_phrasings(kind, phrases) -> None:
    mine = phrases is kind.mine
    assert min(len(set(group)) for group in (phrases.tell, phrases.ask, phrases.answer)) >= 8
    assert min(len(set(group)) for group in (phrases.tell_held_out, phrases.ask_held_out)) >= (3 if mine else 2)
    assert len(phrases.ack) >= 4
    assert bool(phrases.change) == bool(phrases.change_held_out) == phrases.changeable
    assert not phrases.changeable or len(phrases.change) >= 4
    for template in phrases.tell + phrases.tell_held_out + phrases.change + phrases.change_held_out + phrases.answer:
        assert len(re.findall(r"\{a?v\}", template)) == 1, template
    for template in phrases.ask + phrases.ask_held_out:
        assert "{v}" not in template
        assert "{av}" not in template
    theirs = (
        phrases.tell
        + phrases.tell_held_out
        + phrases.ask
        + phrases.ask_held_out
        + phrases.change
        + phrases.change_held_out
    )
    assert all(("{s}" in template) != mine for template in theirs)


def test_the_phrasings_that_must_be_there() -> None:
    dog = next(kind for kind in ALL_KINDS if kind.name == "dog").mine
    assert "My dog is called {v}." in dog.tell
    assert "What is my dog called?" in dog.ask
    assert any("Hello there!" in group.queries for group in GREETINGS)


def test_no_held_out_phrasing_is_a_training_phrasing() -> None:
    shown = {normal(t) for _, p in ALL_PHRASES for t in p.tell + p.ask + p.change}
    held_out = {normal(t) for _, p in ALL_PHRASES for t in p.tell_held_out + p.ask_held_out + p.change_held_out}
    assert len(held_out) >= 200
    assert not shown & held_out


def test_small_talk_is_rich_and_fits_its_words() -> None:
    assert len(GROUPS) >= 60
    for group in GROUPS:
        assert group.queries
        assert len(group.answers) >= 2, group.queries
        with_word = [text for text in group.queries if "{w}" in text]
        assert len(with_word) == (len(group.queries) if group.words else 0), group.queries


@pytest.mark.parametrize(
    ("value", "expected"), [("baker", "a baker"), ("actor", "an actor"), ("Audi", "an Audi"), ("ukulele", "a ukulele")]
)
def test_articles(value: str, expected: str) -> None:
    assert with_article(value) == expected


# --- scoring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "phrases"), ALL_PHRASES, ids=IDS)
def test_every_answer_scores_right_for_its_value_and_wrong_for_another(kind, phrases) -> None:
    for template in phrases.answer:
        for subject in ("sister", "best friend", "boss"):
            for value, other in zip(kind.values, kind.values[1:] + kind.values[:1], strict=True):
                answer = fill(template, value, subject)
                assert asked(value, kind.name).correct(answer), answer
                assert not asked(other, kind.name).correct(answer), answer


@pytest.mark.parametrize(
    ("value", "kind", "answer", "right"),
    [
        ("Rex", "dog", "your dog is called REX!", True),
        ("Rex", "dog", "Your dog is called Rexy.", False),
        ("Rex", "dog", "Your dog is called Rex or Max.", False),
        ("Rex", "dog", "Your dog is called Rex, Rex!", True),
        ("Rex", "dog", "", False),
        ("4 May", "birthday", "It's on 14 May.", False),
        ("14 May", "birthday", "It's on 14 May.", True),
        ("Rex", "dog", "You haven't told me your dog's name yet.", False),
        (None, "dog", "You haven't told me your dog's name yet.", True),
        (None, "dog", "You haven\u2019t told me that.", True),
        (None, "dog", "Your dog is called Rex.", False),
    ],
)
def test_scoring(value: str | None, kind: str, answer: str, right: bool) -> None:
    assert asked(value, kind).correct(answer) is right


# --- conversations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("turns", [2, 3, 5, 16, 64, 100])
def test_conversations_are_well_formed(split: Split, turns: int) -> None:
    for index in range(max(4, 200 // turns)):
        made = generate(split, turns, 3, index)
        interactions = made.conversation.interactions
        assert len(interactions) == turns
        for interaction in interactions:
            for text in (interaction.query, interaction.answer):
                assert text == text.strip()
                assert 1 <= len(text.split()) <= 34, text
                assert not re.search(r"[{}|]|  ", text), text
            assert interaction.answer[0].isupper() or interaction.answer[0].isdigit()
        for fact in made.facts:
            assert re.search(rf"(?<!\w){re.escape(fact.value)}(?!\w)", interactions[fact.turn].query, re.IGNORECASE), (
                fact
            )
        assert made.questions[-1].turn == turns - 1
        assert made.questions[-1].value is not None


@pytest.mark.parametrize("split", SPLITS)
def test_questions_ask_for_the_newest_value_and_their_answers_are_right(split: Split) -> None:
    seen: Counter[str] = Counter()
    for made in conversations(split, turns=20):
        for question in made.questions:
            before = [
                f
                for f in made.facts
                if (f.subject, f.kind) == (question.subject, question.kind) and f.turn < question.turn
            ]
            interaction = made.conversation.interactions[question.turn]
            if question.subject != "me":
                assert f"my {question.subject}" in interaction.query.lower()
            assert question.correct(interaction.answer), interaction
            if before:
                assert (question.value, question.told_turn, question.changed) == (
                    before[-1].value,
                    before[-1].turn,
                    len(before) > 1,
                )
            else:
                assert (question.value, question.told_turn, question.changed) == (None, None, False)
            seen["changed" if question.changed else "never" if question.value is None else "told"] += 1
            seen["others"] += question.subject != "me"
    assert min(seen[what] for what in ("changed", "never", "told", "others")) > 100


def test_one_kind_is_alive_for_several_subjects() -> None:
    both = [
        made
        for made in conversations("train", 16)
        if len({f.kind for f in made.facts}) < len({(f.subject, f.kind) for f in made.facts})
    ]
    assert len(both) > MANY // 4


def test_no_text_is_the_value_of_two_facts_of_a_conversation() -> None:
    for made in conversations("train", turns=24):
        values = [fact.value.lower() for fact in made.facts]
        assert len(values) == len(set(values))


def test_the_mix_is_as_described() -> None:
    made = conversations("train", turns=16)
    alive = [len({(fact.subject, fact.kind) for fact in one.facts}) for one in made]
    assert 6 <= sum(alive) / len(alive) <= 8
    questions = sum(len(one.questions) for one in made) / (16 * len(made))
    assert 0.33 <= questions <= 0.47
    several = sum(max(Counter(fact.turn for fact in one.facts).values()) > 1 for one in made)
    assert several > MANY // 4


def test_distances_are_covered_roughly_evenly() -> None:
    distances = Counter(
        question.turn - question.told_turn
        for made in conversations("train", 16, 800)
        for question in made.questions
        if question.told_turn is not None
    )
    assert set(distances) == set(range(1, 16))
    assert max(distances.values()) < 6 * min(distances.values())


def test_two_turns_tell_and_ask() -> None:
    for made in conversations("train", turns=2):
        assert [fact.turn for fact in made.facts] in ([0], [0, 0], [0, 0, 0])
        assert [(question.turn, question.told_turn) for question in made.questions] == [(1, 0)]


def test_people_type_in_different_ways_and_values_keep_their_spelling() -> None:
    made = conversations("train", 16)
    queries = [interaction.query for one in made for interaction in one.conversation.interactions]
    lower = sum(query[0].islower() for query in queries) / len(queries)
    unfinished = sum(query[-1] not in ".?!" for query in queries) / len(queries)
    assert 0.03 < lower < 0.2
    assert 0.03 < unfinished < 0.2
    names = [
        (one.conversation.interactions[f.turn].query, f.value)
        for one in made
        for f in one.facts
        if f.kind in ("name", "dog", "city")
    ]
    assert len(names) > 100
    assert all(value in query for query, value in names)


def test_conversations_are_a_pure_function_of_their_arguments() -> None:
    first = [generate("train", 10, 1, index) for index in range(20)]
    assert [generate("train", 10, 1, index) for index in reversed(range(20))][::-1] == first
    assert len({made.conversation for made in first}) == 20
    assert generate("train", 10, 2, 0) != first[0]
    assert generate("validation", 10, 1, 0) != first[0]
    assert generate("train", 3, 1, 0).conversation.interactions[0].query == "Good afternoon to you!"


def test_knobs_do_what_they_say() -> None:
    quiet = EverydayConfig(
        small_talk_rate=0, multi_fact_rate=0, change_rate=0, other_people_rate=0, never_told_rate=0, max_facts=3
    )
    for index in range(50):
        made = generate("train", 20, 0, index, quiet)
        assert {fact.subject for fact in made.facts} == {"me"}
        assert len(made.facts) <= 3
        assert len({fact.turn for fact in made.facts}) == len(made.facts)
        assert not any(question.changed or question.value is None for question in made.questions)
    with pytest.raises(UserError, match="change_rate must be from 0 to 1"):
        EverydayConfig(change_rate=1.5)
    with pytest.raises(UserError, match="leave room"):
        EverydayConfig(question_rate=0.9, small_talk_rate=0.2)
    with pytest.raises(UserError, match="max_facts"):
        EverydayConfig(max_facts=0)
    with pytest.raises(UserError, match="turns must be at least 2"):
        generate("train", 1, 0, 0)
    with pytest.raises(UserError, match="no split 'dev'"):
        generate("dev", 4, 0, 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_novelty_asks_for_other_facts_rather_than_again() -> None:
    def asked_again(novelty: float) -> float:
        made = [generate("train", 16, 0, index, EverydayConfig(novelty=novelty)) for index in range(200)]
        asked = [[(q.subject, q.kind, q.told_turn) for q in each.questions if q.value is not None] for each in made]
        return 1 - sum(len(set(each)) for each in asked) / sum(map(len, asked))

    assert asked_again(4) < 0.75 * asked_again(0)
    with pytest.raises(UserError, match="novelty cannot be negative"):
        EverydayConfig(novelty=-1)


# --- splits ------------------------------------------------------------------------------------------------------


def test_the_pair_hash_is_symmetric_and_has_the_shares_it_promises() -> None:
    everything = [(kind, value) for kind in kinds() for value in values_of(kind)[:12]]
    shares = Counter(pair_split(*a, *b) for a, b in combinations(everything, 2))
    total = sum(shares.values())
    assert shares["test"] / total == pytest.approx(0.10, abs=0.01)
    assert shares["validation"] / total == pytest.approx(0.05, abs=0.01)
    assert all(pair_split(*a, *b) == pair_split(*b, *a) for a, b in combinations(everything[:60], 2))
    assert pair_split("dog", "Rex", "city", "Paris") == "train"


def test_training_never_shows_a_pair_that_validation_or_test_is_about() -> None:
    trained = set().union(*(pairs(made) for turns in (4, 12, 40) for made in conversations("train", turns, 400)))
    assert len(trained) > 10_000
    assert {pair_split(*a, *b) for a, b in trained} == {"train"}
    for split in ("validation", "test", "test-unseen-phrasings"):
        own = "test" if split == "test-unseen-phrasings" else split
        for made in conversations(split, 12):
            facts = [(fact.kind, fact.value) for fact in made.facts]
            for at, fact in enumerate(facts[1:], 1):
                new = {frozenset((fact, earlier)) for earlier in facts[:at] if pair_split(*fact, *earlier) == own}
                assert new
                assert not new & trained
            if split == "validation":
                assert not any(pair_split(*a, *b) == "test" for a, b in pairs(made))


def test_every_single_value_occurs_in_training() -> None:
    usual = EverydayConfig()
    assert len(usual.kinds) >= 12
    seen = {(fact.kind, fact.value) for index in range(3_000) for fact in generate("train", 16, 0, index).facts}
    assert seen == {(kind, value) for kind in usual.kinds for value in values_of(kind)[: usual.values]}


def test_all_kinds_and_values_can_be_asked_for() -> None:
    everything = EverydayConfig(kinds=kinds(), values=1_000)
    seen = {
        (fact.kind, fact.value) for index in range(12_000) for fact in generate("train", 16, 0, index, everything).facts
    }
    assert seen == {(kind, value) for kind in kinds() for value in values_of(kind)}


@pytest.mark.parametrize(
    ("knobs", "message"), [({"values": 39}, "values must be at least 40"), ({"kinds": ("surname",)}, "kinds must name")]
)
def test_too_few_kinds_or_values_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EverydayConfig(**knobs)  # type: ignore[arg-type]


def test_held_out_phrasings_occur_in_their_split_only() -> None:
    people = "|".join(subject.noun for subject in EVERYBODY)

    def pattern(template: str, values: str) -> str:
        return (
            normal(template)
            .replace("{s}", f"(?:{people})")
            .replace("{v}", f"(?:{values})")
            .replace("{av}", f"an? (?:{values})")
        )

    unseen = re.compile(
        "|".join(
            pattern(template, "|".join(kind.values).lower())
            for kind, phrases in ALL_PHRASES
            for template in phrases.tell_held_out + phrases.ask_held_out + phrases.change_held_out
        )
    )
    for split in ("train", "validation", "test"):
        for made in conversations(split, 16, 150):
            for interaction in made.conversation.interactions:
                assert not unseen.fullmatch(normal(interaction.query)), interaction.query
    for made in conversations("test-unseen-phrasings", 16, 150):
        for question in made.questions:
            assert unseen.fullmatch(normal(made.conversation.interactions[question.turn].query))
        for turn, count in Counter(fact.turn for fact in made.facts).items():
            if count == 1:
                assert unseen.fullmatch(normal(made.conversation.interactions[turn].query)), (
                    made.conversation.interactions[turn].query
                )


def test_unseen_phrasings_are_about_the_same_facts_as_test() -> None:
    for index in range(50):
        plain, unseen = generate("test", 12, 1, index), generate("test-unseen-phrasings", 12, 1, index)
        assert (plain.facts, plain.questions) == (unseen.facts, unseen.questions)
        assert plain.conversation != unseen.conversation


# --- retention ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("distance", [1, 2, 8, 32])
def test_retention_asks_at_the_distance_and_says_nothing_of_the_fact_before(split: Split, distance: int) -> None:
    for index in range(40):
        made = retention_conversation(split, distance, 9, index)
        target = made.questions[-1]
        assert target.turn == len(made.conversation.interactions) - 1
        assert target.told_turn is not None
        assert target.turn - target.told_turn == distance
        same = [f for f in made.facts if (f.subject, f.kind) == (target.subject, target.kind)]
        assert [(f.value, f.turn) for f in same] == [(target.value, target.told_turn)]
        assert [f.turn for f in made.facts].count(target.told_turn) == 1
        assert not any((q.subject, q.kind) == (target.subject, target.kind) for q in made.questions[:-1])
        assert target.correct(made.conversation.interactions[-1].answer)
        for at, fact in enumerate(made.facts):
            if at and split != "train":
                own = "validation" if split == "validation" else "test"
                assert any(pair_split(fact.kind, fact.value, f.kind, f.value) == own for f in made.facts[:at])


def test_retention_limits() -> None:
    with pytest.raises(UserError, match="distance must be at least 1"):
        retention_conversation("test", 0, 0, 0)
    made = retention_conversation("test", 5, 0, 0, EverydayConfig(max_facts=1))
    assert len(made.facts) == 2
    assert retention_conversation("test", 5, 0, 0) == retention_conversation("test", 5, 0, 0)


# --- use in training ---------------------------------------------------------------------------------------------


def test_never_told_answers_can_be_scored() -> None:
    assert all(answer.startswith("You haven't told me") for answer in NEVER_TOLD)


def test_corpus_lines_are_the_texts_of_the_conversations() -> None:
    lines = list(corpus_lines("train", 4, conversations=3, turns=6))
    expected = [
        t
        for index in range(3)
        for i in generate("train", 6, 4, index).conversation.interactions
        for t in (i.query, i.answer)
    ]
    assert lines == expected


def test_generation_is_fast_enough_for_the_training_loop() -> None:
    began = time.process_time()
    turns = sum(len(generate("train", 16, 2, index).conversation.interactions) for index in range(150))
    assert turns / (time.process_time() - began) > 2_000


def test_two_facts_about_one_person_are_joined_with_a_pronoun() -> None:
    config = EverydayConfig(
        multi_fact_rate=1, other_people_rate=1, people=1, question_rate=0, small_talk_rate=0, change_rate=0
    )
    queries = [
        i.query for index in range(200) for i in generate("train", 3, 0, index, config).conversation.interactions
    ]
    joined = [query for query in queries if " and she " in query or " and her " in query]
    assert len(joined) > 10
    assert all(re.search(r"\bmy (mother|sister|aunt)\b", query, re.IGNORECASE) for query in joined)
    assert not any(re.search(r"\bmy (father|brother|uncle)\b", query, re.IGNORECASE) for query in joined)
