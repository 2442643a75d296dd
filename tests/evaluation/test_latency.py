"""What is timed is the real conversation: its tokens, its memory, its turns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from factories import remembering_model, tiny_config
from rxt.errors import UserError
from rxt.evaluation import latency
from rxt.evaluation.latency import Seconds, Timed, TimedReactive, TurnCost, check_lengths, measure_latency
from rxt.generation.generate import generate
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

Q, A = 6, 4


def test_the_reactive_transformer_answers_and_memorizes_as_in_a_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    model = remembering_model()
    history = torch.randint(10, 200, (4, Q + A))
    expected = model.init_memory(1, 3)
    for ids in history[:3]:
        expected = model.memorize(expected, ids[None])
    interaction = generate(model, history[3:, :Q], expected, A, stop_at_eos=False)
    after = model.memorize(expected, interaction)
    made: list[Memory] = []
    memorize = ReactiveTransformer.memorize

    def watched(self: ReactiveTransformer, memory: Memory, ids: Tensor, mask: Tensor | None = None) -> Memory:
        made.append(memorize(self, memory, ids, mask))
        return made[-1]

    monkeypatch.setattr(ReactiveTransformer, "memorize", watched)
    subject = TimedReactive(model, 3)
    subject.skip(history[:1])
    subject.skip(history[:0])
    subject.skip(history[1:3])
    for cost in [subject.turn(history[3:, :Q], A) for _ in range(2)]:  # the conversation stays where it was
        assert 0 < cost.first_token < cost.last_token
        assert cost.update > 0
        assert cost.state_bytes == expected.nbytes
        assert cost.tokens == 2 * (Q + A) - 1
    for memory in made[-2:]:
        torch.testing.assert_close(memory.slots, after.slots)
        assert memory.turns == (4,)


def test_memory_is_projected_before_the_query_comes_and_again_when_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in :func:`rxt.generation.turn.memorize`; what a chat does after an answer is part of the update."""
    model, subject = remembering_model(), TimedReactive(remembering_model(), 0)
    calls: list[str] = []
    read, started = type(model.decoder).project_memory, latency.Stopwatch.__init__
    monkeypatch.setattr(
        type(model.decoder), "project_memory", lambda self, slots: (calls.append("project"), read(self, slots))[1]
    )
    monkeypatch.setattr(latency.Stopwatch, "__init__", lambda self: (calls.append("query"), started(self))[1])
    monkeypatch.setattr(latency.Stopwatch, "token", lambda self: calls.append("token"))
    subject.turn(torch.randint(10, 200, (1, Q)), A)
    assert calls == ["project", "query", *["token"] * A, "project"]


class Scripted(Timed):
    """Writes down what it is given; its k-th timing takes k seconds."""

    parameters = 7

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.skipped: list[Tensor] = []
        self.count = 0

    def skip(self, interactions: Tensor) -> None:
        self.skipped.append(interactions)
        self.log.append(f"{self.name} skips {len(interactions)}")

    def turn(self, query: Tensor, answer_tokens: int) -> TurnCost:
        assert query.shape == (1, Q)
        assert answer_tokens == A
        self.count += 1
        self.log.append(f"{self.name} answers")
        return TurnCost(self.count, 2 * self.count, 3 * self.count, 11, 13)


def test_turns_are_walked_to_and_models_take_turns() -> None:
    log: list[str] = []
    subjects = [Scripted("a", log), Scripted("b", log)]
    done: list[int] = []
    curves = measure_latency(
        subjects, tiny_config().tokens, 30, [1, 3, 4], Q, A, repeats=3, warm_up=1, seed=0, report=done.append
    )
    answers = [*["a answers"] * 4, *["b answers"] * 4]
    assert log == [
        "a skips 0",
        "b skips 0",
        *answers,
        "a skips 2",
        "b skips 2",
        *answers,
        "a skips 1",
        "b skips 1",
        *answers,
    ]
    assert sum(done) == 2 * 3 * 4
    for curve, subject in zip(curves, subjects, strict=True):
        assert (curve.name, curve.parameters) == (subject.name, 7)
        assert list(curve.turns) == [1, 3, 4]
        assert curve.turns[1].first_token == Seconds(3, 2, 4), "the first timing of a turn is warm-up"
        assert curve.turns[3].update == Seconds(21, 18, 24)
        assert (curve.turns[4].state_bytes, curve.turns[4].tokens) == (11, 13)
    assert torch.equal(torch.cat(subjects[0].skipped), torch.cat(subjects[1].skipped)), (
        "all are in the same conversation"
    )
    special = [token for token in vars(tiny_config().tokens).values() if token is not None]
    assert not torch.isin(torch.cat(subjects[0].skipped), torch.tensor(special)).any()


def test_the_same_seed_is_the_same_conversation() -> None:
    histories = []
    for seed in (0, 0, 1):
        subject = Scripted("a", [])
        measure_latency([subject], tiny_config().tokens, 30, [5], Q, A, 1, 0, seed)
        histories.append(torch.cat(subject.skipped))
    assert torch.equal(histories[0], histories[1])
    assert not torch.equal(histories[0], histories[2])


def test_what_does_not_fit_is_refused() -> None:
    check_lengths(32, 32, 64)
    with pytest.raises(UserError, match=r"32 tokens of query and 33 of answer do not fit: .* at most 64 tokens"):
        check_lengths(32, 33, 64)
    with pytest.raises(UserError, match="at least one token of query and one of answer, found 0 and 4"):
        check_lengths(0, 4, 64)
