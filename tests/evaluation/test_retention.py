"""Recall by distance: what is asked, what is counted, and that the controls are controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from factories import remembering_model, tiny_config, tiny_tokenizer
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation import retention
from rxt.evaluation.retention import (
    NOTHING,
    Plan,
    Score,
    measure_recall,
    measure_retention,
)
from rxt.evaluation.subject import Reactive, Subject
from rxt.tasks.everyday import (
    EverydayConfig,
    EverydayConversation,
    capacity_conversation,
    changed_conversation,
    never_told_conversation,
    retention_conversation,
)
from rxt.tasks.everyday.phrases import values_of
from rxt.tasks.everyday.task import has_distractor, told

Heard = tuple[tuple[str, ...], ...]
"""What the person said in B conversations so far."""
NEVER = "You haven't told me that yet."


def queries(case: EverydayConversation) -> list[str]:
    return told(case).queries


def template() -> Template:
    return Template(tiny_tokenizer(), "alpha", 4 * tiny_config().max_length)  # so that no query is too long


class Scripted(Subject[Heard]):
    """Answers a conversation's last question rightly when its state is that conversation, and ``knows`` says so."""

    def __init__(
        self, cases: Sequence[EverydayConversation], knows: Callable[[EverydayConversation], bool] = lambda case: True
    ) -> None:
        super().__init__(template(), trained_turns=5)
        self.right = {tuple(queries(case)): case.questions[-1].value or NEVER for case in cases if knows(case)}
        self.batches: list[int] = []

    def start(self, batch_size: int, seed: int) -> Heard:
        return ((),) * batch_size

    def answer(self, prompts: Sequence[list[int]], state: Heard, max_new_tokens: int = 48) -> list[list[int]]:
        self.batches.append(len(prompts))
        asked = [tiny_tokenizer().decode(prompt[2:-1]) for prompt in prompts]  # between [Q] and [A]
        said = [self.right.get((*heard, query), "?") for heard, query in zip(state, asked, strict=True)]
        return [tiny_tokenizer().encode(answer) for answer in said]

    def remember(self, state: Heard, interactions: Sequence[list[int]]) -> Heard:
        answer = tiny_tokenizer().tokens.answer
        assert answer is not None
        queries = [tiny_tokenizer().decode(ids[2 : ids.index(answer)]) for ids in interactions]
        return tuple((*heard, query) for heard, query in zip(state, queries, strict=True))

    def take(self, state: Heard, rows: Sequence[int]) -> Heard:
        return tuple(state[row] for row in rows)

    def join(self, states: Sequence[Heard]) -> Heard:
        return tuple(heard for state in states for heard in state)

    def state_bytes(self, state: Heard) -> int:
        return 0


def curve_cases(distances: Sequence[int], questions: int, seed: int) -> list[EverydayConversation]:
    return [
        retention_conversation("test", d, seed, d * 1_000_000 + index) for d in distances for index in range(questions)
    ]


@pytest.fixture
def no_specials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SPECIAL_QUESTIONS", 0)


@pytest.mark.usefixtures("no_specials")
def test_right_answers_are_counted_by_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    cases = curve_cases([1, 3], 5, 9)
    known = cases[:2] + cases[5:9]  # 2 of the 5 at distance 1, 4 of the 5 at distance 3
    subject = Scripted(known)
    done: list[int] = []
    found = measure_retention(subject, "test", Plan((1, 3), 5), 9, done.append)
    assert done == [2, 3, 2, 3]
    assert max(subject.batches) == 3
    assert found.by_distance == {1: Score(2, 5), 3: Score(4, 5)}
    assert found.between(1, 2) == Score(2, 5)
    assert found.between(1, 9) == Score(6, 10)
    assert found.between(4, 9) == NOTHING
    assert math.isnan(found.between(4, 9).share)
    distracted = [case for case in cases if has_distractor(case)]
    assert found.distracted == Score(sum(case in known for case in distracted), len(distracted))
    assert found.chance == pytest.approx(sum(1 / value_count(case) for case in cases) / 10)
    assert found.capacity == {}


def value_count(case: EverydayConversation) -> int:
    return min(EverydayConfig().values, len(values_of(case.questions[-1].kind)))


@pytest.mark.usefixtures("no_specials")
def test_the_controls_see_a_fresh_state_and_anothers() -> None:
    """Who remembers everything answers nothing under the controls; who guesses right without a state answers under
    both."""
    cases = curve_cases([2], 6, 9)
    found = measure_retention(Scripted(cases), "test", Plan((2,), 6), 9)
    assert (found.by_distance[2], found.reset[2], found.shuffled[2]) == (Score(6, 6), Score(0, 6), Score(0, 6))

    class Guesser(Scripted):
        def answer(self, prompts: Sequence[list[int]], state: Heard, max_new_tokens: int = 48) -> list[list[int]]:
            right = {said[-1]: answer for said, answer in self.right.items()}
            asked = [tiny_tokenizer().decode(prompt[2:-1]) for prompt in prompts]
            return [tiny_tokenizer().encode(right.get(query, "?")) for query in asked]

    guessed = measure_retention(Guesser(cases), "test", Plan((2,), 6), 9)
    assert guessed.reset[2] == guessed.shuffled[2] == guessed.by_distance[2]
    assert guessed.reset[2].right >= 5, "questions in the same words get the answer of one of them"


def test_every_control_is_anothers_state() -> None:
    states: list[Heard] = []

    class Noting(Scripted):
        def answer(self, prompts: Sequence[list[int]], state: Heard, max_new_tokens: int = 48) -> list[list[int]]:
            states.append(state)
            return super().answer(prompts, state, max_new_tokens)

    cases = curve_cases([1], 3, 4)
    measure_retention(Noting([]), "test", Plan((1,), 3), 4)
    heard = tuple(tuple(queries(case)[:-1]) for case in cases)
    longest = max(map(len, heard))
    fresh, others = states[longest + 1], states[longest + 2]
    assert fresh == ((),) * 3
    assert others == (heard[2], heard[0], heard[1])


def test_changes_what_was_never_told_and_capacity_are_asked() -> None:
    plan = Plan((1,), 4, facts=(1, 3), capacity_distances=(1, 2))
    nobody = measure_retention(Scripted([]), "validation", plan, 2)
    assert nobody.special == {"changed": Score(0, 16), "never_told": Score(0, 16)}
    assert nobody.capacity == {(facts, distance): Score(0, 4) for facts in (1, 3) for distance in (1, 2)}
    cases = [capacity_conversation("validation", 3, 2, 2, index) for index in range(4)]
    assert measure_retention(Scripted(cases), "validation", plan, 2).capacity[3, 2] == Score(4, 4)
    seen: list[int] = []
    measure_retention(Scripted([]), "validation", plan, 2, seen.append)
    assert sum(seen) == plan.total == 4 + 16 + 16 + 16


def test_a_real_model_is_measured() -> None:
    model = remembering_model()
    longer = replace(model.config.decoder, max_length=4 * tiny_config().max_length)
    encoder = replace(model.config.encoder, max_length=4 * tiny_config().max_length)
    model.config = replace(model.config, decoder=longer, encoder=encoder, trained_turns=7)
    subject = Reactive(model, template())
    found = measure_retention(subject, "validation", Plan((1,), 2), 0)
    assert found.by_distance[1].asked == found.reset[1].asked == found.shuffled[1].asked == 2
    assert subject.trained_turns == 7


def test_a_distractor_is_the_same_kind_told_of_another_person() -> None:
    found = [has_distractor(case) for case in curve_cases([6], 40, 3)]
    assert 0 < sum(found) < 40
    for case, has in zip(curve_cases([6], 40, 3), found, strict=True):
        asked = case.questions[-1]
        others = [fact.subject for fact in case.facts if fact.kind == asked.kind and fact.subject != asked.subject]
        assert has == bool(others)


@pytest.mark.parametrize(
    ("distances", "questions", "problem"), [((1,), 1, "at least two questions, found 1"), ((), 4, "needs distances")]
)
def test_a_plan_that_cannot_be_measured_is_refused(distances: tuple[int, ...], questions: int, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Plan(distances, questions)


def test_the_interval_holds_the_share() -> None:
    low, high = Score(30, 60).interval
    assert 0.35 < low < 0.42
    assert 0.58 < high < 0.65
    assert Score(60, 60).interval == (1, 1)
    assert Score(0, 60).interval == (0, 0)
    assert all(math.isnan(bound) for bound in Score(0, 0).interval)


def test_the_short_measurement_asks_the_same_questions() -> None:
    plan = Plan((1, 3), 5)
    special = retention.SPECIAL_QUESTIONS * plan.questions
    asked = [
        *curve_cases(plan.distances, plan.questions, seed=4),
        *(changed_conversation("test", 1 + index % 16, 4, index) for index in range(special)),
        *(never_told_conversation("test", 1 + index % 16, 4, index) for index in range(special)),
    ]
    subject = Scripted(asked, lambda case: len(queries(case)[-1]) % 3 > 0)
    whole = measure_retention(subject, "test", plan, seed=4)
    subject.batches.clear()
    short = measure_recall(subject, "test", plan.distances, plan.questions, special, 4, plan.task)
    assert (short.by_distance, short.special) == (whole.by_distance, whole.special)
    assert 0 < short.all.right < short.all.asked == 2 * 5 + 2 * special
    assert short.between(2, 3) == whole.by_distance[3]
    assert subject.batches[0] == short.all.asked, "all in one walk"
