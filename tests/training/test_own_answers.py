"""The policy's own mistakes as rejected answers: what it says out of each turn's memory, where that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import PREFERENCE, learner, preference_stage, template

from rxt.data.collate import Preferences, collate_rows
from rxt.data.template import Encoded
from rxt.generation.generate import generate
from rxt.generation.sampling import Sampling
from rxt.model.memory import Memory
from rxt.tasks.everyday import Question
from rxt.tasks.everyday.scoring import correct
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update, validate
from rxt.training.optim import make_optimizer
from rxt.training.preference.own_answers import MAX_NEW_TOKENS, with_own_answers, with_rows
from rxt.training.unroll import conversation_memories

GREEDY = Sampling()


def made(folder: Path) -> tuple[ReactiveLearner, Preferences, list[torch.Tensor]]:
    subject = learner().eval()
    with torch.no_grad():
        for parameter in subject.model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    (batch,) = preference_stage(folder).batches("train", 0)
    slots = subject.model.init_memory(batch.accepted.size, seed=1).slots
    return subject, batch, conversation_memories(subject.model, batch.accepted, slots)


def sequences(batch: Preferences) -> list[list[int]]:
    return [row[: int(mask.sum())].tolist() for row, mask in zip(batch.answers.ids, batch.answers.mask, strict=True)]


def test_wrong_answers_of_its_own_take_the_place_of_the_rejected_ones(tmp_path: Path) -> None:
    subject, batch, memories = made(tmp_path)
    found, own = with_own_answers(subject.model, template(), batch, memories, GREEDY)
    before, after, pairs = sequences(batch), sequences(found), batch.pairs
    answer = template().tokens.answer
    assert answer is not None
    assert own == pairs > 3, "a random model is never right"
    assert after[:pairs] == before[:pairs], "the accepted answers stay"
    slots = torch.cat(memories, dim=1)
    for pair in range(pairs):
        row = int(batch.turn_row[pair])
        accepted = before[pair]
        prompt = accepted[: accepted.index(answer) + 1]
        ids = torch.tensor([prompt])
        alone = generate(subject.model, ids, Memory(slots[:, row : row + 1].detach()), MAX_NEW_TOKENS, GREEDY)[
            0
        ].tolist()
        expected = template().complete(prompt, alone[len(prompt) :])
        assert after[pairs + pair] == expected
        targets = found.answers.targets[pairs + pair].nonzero()[:, 0].tolist()
        assert targets == list(range(len(prompt), len(expected))), "all that it said is scored, its end too"
    assert found.turn_row is batch.turn_row
    assert found.accepted is batch.accepted


def test_right_answers_are_no_rejected_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, batch, memories = made(tmp_path)
    seen = 0

    def sometimes(question: Question, answer: str) -> bool:
        nonlocal seen
        seen += 1
        assert not correct(question.kind, question.value, answer)
        return seen % 2 == 0

    monkeypatch.setattr(Question, "correct", sometimes)
    found, own = with_own_answers(subject.model, template(), batch, memories, GREEDY)
    assert own == -(-batch.pairs // 2)
    changed = [after != before for before, after in zip(sequences(batch), sequences(found), strict=True)]
    assert changed[batch.pairs : 2 * batch.pairs] == [pair % 2 == 0 for pair in range(batch.pairs)]


def test_pairs_of_which_nothing_is_known_stay(tmp_path: Path) -> None:
    subject, batch, memories = made(tmp_path)
    known = batch.questions[1]
    batch = Preferences(
        batch.accepted, batch.answers, batch.turn_row, batch.pairs, (None, known, *[None] * (batch.pairs - 2))
    )
    found, own = with_own_answers(subject.model, template(), batch, memories, GREEDY)
    assert own == 1
    changed = [index for index, (a, b) in enumerate(zip(sequences(batch), sequences(found), strict=True)) if a != b]
    assert changed == [batch.pairs + 1]
    nothing = Preferences(batch.accepted, batch.answers, batch.turn_row, batch.pairs, (None,) * batch.pairs)
    assert with_own_answers(subject.model, template(), nothing, memories, GREEDY) == (nothing, 0)


def test_rows_can_be_exchanged_for_longer_and_shorter_ones() -> None:
    def encoded(length: int) -> Encoded:
        return Encoded(list(range(1, length + 1)), [False] + [True] * (length - 1))

    rows = collate_rows([encoded(3), encoded(5), encoded(2)], 0)
    copy = rows.ids.clone()
    for others in ({0: encoded(7), 2: encoded(1)}, {1: encoded(2)}):
        found = with_rows(rows, others, 0)
        expected = collate_rows([others.get(index, encoded(length)) for index, length in enumerate((3, 5, 2))], 0)
        length = expected.ids.shape[1]
        for name in ("ids", "mask", "targets"):
            assert torch.equal(getattr(found, name)[:, :length], getattr(expected, name))
        assert not found.mask[:, length:].any()
        assert torch.equal(rows.ids, copy), "the rows given are as they were"


def test_training_uses_them_and_validation_does_not(tmp_path: Path) -> None:
    def trained(temperature: float | None, folder: str) -> tuple[ReactiveLearner, list[float], dict[str, float]]:
        stage = preference_stage(tmp_path / folder, replace(PREFERENCE, own_temperature=temperature))
        subject = learner()
        optimizer = make_optimizer(subject, stage.optim)
        own = [
            float(sum(loss.metrics["own"] for loss in update(stage, subject, optimizer, 0, step))) for step in range(2)
        ]
        return subject, own, validate(stage, subject, 0, 1)

    subject, own, checked = trained(0.8, "a")
    assert own == [1.0, 1.0]
    assert checked["own"] == 0
    again, _, _ = trained(0.8, "b")
    assert all(torch.equal(again.weights()[name], tensor) for name, tensor in subject.weights().items()), (
        "drawn by the step's own numbers"
    )
    without, own, _ = trained(None, "c")
    assert own == [0.0, 0.0]
    assert not all(torch.equal(without.weights()[name], tensor) for name, tensor in subject.weights().items())
