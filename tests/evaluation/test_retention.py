"""Recall by distance: what is asked, what is counted, and that the controls are controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from small_model import MODEL, small_model, tokenizer
from torch import Tensor

from rxt.data.everyday import correct, retention_conversation
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation import retention
from rxt.evaluation.retention import Score, interval, measure_retention
from rxt.evaluation.walk import Walk
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer


def template() -> Template:
    return Template(tokenizer(), "alpha", 4 * MODEL.max_length)  # so that no query is too long


def model() -> ReactiveTransformer:
    made = small_model()
    longer = replace(MODEL.decoder, max_length=4 * MODEL.max_length)
    made.config = replace(made.config, decoder=replace(longer, vocab_size=tokenizer().vocab_size))
    object.__setattr__(made.config, "encoder", replace(made.config.encoder, max_length=4 * MODEL.max_length))
    return made


class Rigged:
    """Answers the last query of a walk rightly for chosen cases, and from other memories only where told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, right: set[int], reset: bool = False, shuffled: bool = False) -> None:
        self.right, self.reset, self.shuffled = right, reset, shuffled
        self.walks: list[int] = []
        self.asked: list[tuple[int, Memory]] = []
        self.memory: Memory | None = None
        monkeypatch.setattr(retention, "walk", self.walk)
        monkeypatch.setattr(retention, "answer_batch", self.answer_batch)

    def walk(self, model: ReactiveTransformer, template: Template, conversations: Sequence[Sequence[str]], seed: int) -> Walk:
        self.walks.append(len(conversations))
        self.conversations = conversations
        self.memory = model.init_memory(len(conversations), 77)
        answers = tuple(
            tuple(self.answer(queries) if index in self.right else "?" for _ in queries) for index, queries in enumerate(conversations)
        )
        return Walk(answers, self.memory)

    def answer_batch(self, model: ReactiveTransformer, template: Template, prompts: Sequence[list[int]], memory: Memory) -> list[list[int]]:
        self.asked.append((len(prompts), memory))
        wanted = self.reset if len(self.asked) % 2 else self.shuffled
        return [tokenizer().encode(self.answer(queries) if wanted else "?") for queries in self.conversations]

    @staticmethod
    def answer(queries: Sequence[str]) -> str:
        return ANSWERS[tuple(queries)]


ANSWERS: dict[tuple[str, ...], str] = {}


def learn(distances: Sequence[int], questions: int, seed: int) -> None:
    """Write down the right answers."""
    for distance in distances:
        for index in range(questions):
            case = retention_conversation("test", distance, seed, distance * 1_000_000 + index)
            ANSWERS[tuple(retention.queries(case))] = str(case.questions[-1].value)


@pytest.fixture(autouse=True)
def _no_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_mixed", lambda *_: (Score(1, 2), Score(3, 4)))


def test_right_answers_are_counted_by_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    learn([1, 3], 5, 9)
    rigged = Rigged(monkeypatch, right={0, 2}, reset=True)
    done: list[int] = []
    found = measure_retention(model(), template(), "test", [1, 3], 5, 9, done.append)
    assert rigged.walks == [2, 3, 2, 3]
    assert sum(done) == 10
    assert found.by_distance == {1: Score(3, 5), 3: Score(3, 5)}  # index 0 of both batches, index 2 of the second
    assert found.reset == Score(10, 10)
    assert found.shuffled == Score(0, 10)
    assert (found.changed, found.never_told) == (Score(1, 2), Score(3, 4))
    assert found.between(1, 2) == Score(3, 5)
    assert found.between(1, 9) == Score(6, 10)
    assert found.between(4, 9) == Score(0, 0)
    assert math.isnan(found.between(4, 9).share)
    assert 0 < found.chance < 0.2


def test_the_controls_use_a_fresh_memory_and_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    learn([2], 3, 9)
    rigged = Rigged(monkeypatch, right=set(), shuffled=True)
    subject = model()
    found = measure_retention(subject, template(), "test", [2], 3, 9)
    assert (found.reset, found.shuffled) == (Score(0, 3), Score(3, 3))
    (_, reset), (_, shuffled) = rigged.asked
    assert rigged.memory is not None

    def same(first: Tensor, second: Tensor) -> bool:
        return bool((first == second).all())

    assert same(reset.slots, subject.init_memory(3, 9).slots)
    assert [same(shuffled.select(row).slots, rigged.memory.select((row - 1) % 3).slots) for row in range(3)] == [True] * 3
    assert not any(same(shuffled.select(row).slots, rigged.memory.select(row).slots) for row in range(3)), "nobody has its own"


def test_every_question_is_asked_at_its_distance() -> None:
    for distance in (1, 4):
        for index in range(5):
            case = retention_conversation("test", distance, 9, distance * 1_000_000 + index)
            question = case.questions[-1]
            assert question.turn == len(case.conversation.interactions) - 1
            assert question.told_turn == question.turn - distance
            assert correct(question, str(question.value))


def test_a_real_model_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(retention, "MIXED_TURNS", 3)
    found = measure_retention(model(), template(), "validation", [1], 2, 0)
    assert found.by_distance[1].asked == found.reset.asked == found.shuffled.asked == 2


def test_one_question_has_no_control() -> None:
    with pytest.raises(UserError, match="ask at least two questions, found 1"):
        measure_retention(model(), template(), "test", [1], 1, 0)


def test_the_interval_holds_the_share() -> None:
    low, high = interval(Score(30, 60))
    assert 0.35 < low < 0.42
    assert 0.58 < high < 0.65
    assert interval(Score(60, 60)) == (1, 1)
    assert interval(Score(0, 60)) == (0, 0)
    assert all(math.isnan(bound) for bound in interval(Score(0, 0)))
