"""The engine's thread: what goes first, who waits, and how it ends."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from itertools import pairwise

import pytest
import torch

from factories import chat_model
from rxt.engine.scheduler import HURRY, Engine, Limits, Overloaded, Stopped
from rxt.errors import UserError
from rxt.generation.batch import BatchDecoder, Said
from rxt.generation.ready import Ready
from rxt.generation.sampling import Sampling
from rxt.generation.turn import Prepared
from rxt.pretrained import ReactiveTransformer

GREEDY = Sampling()


class Heard:
    """What an answer's listener was told."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.error: Exception | None = None
        self.ended = threading.Event()

    def __call__(self, news: Said | Exception) -> None:
        if isinstance(news, Exception):
            self.error = news
        else:
            self.tokens.append(news.token)
        if isinstance(news, Exception) or news.finish_reason is not None:
            self.ended.set()

    def wait(self) -> list[int]:
        assert self.ended.wait(60)
        if self.error is not None:
            raise self.error
        return self.tokens


@pytest.fixture
def endless() -> ReactiveTransformer:
    """A model whose answers end only where they are cut."""
    model = chat_model(max_length=512)
    with torch.no_grad():
        model.decoder.head.weight[model.config.tokens.eos] = 0
        model.decoder.head.weight[7] += model.decoder.head.weight[8:].abs().max()
    return model


def test_an_update_waits_for_answers_but_not_for_ever(endless: ReactiveTransformer) -> None:
    engine = Engine(endless, Limits(patience=40))
    steps: dict[str, int] = {}

    def note(name: str) -> object:
        return lambda done: steps.setdefault(name, engine.steps)

    heard = Heard()
    with engine._wake:
        ticket = engine.answer([3, 9, 10, 4], engine.fresh(0), GREEDY, 400, heard)
        results = [engine.memorize(engine.fresh(0), [3, 9, 2]) for _ in range(2)]
        for name, result in zip(("patient", "hurried"), results, strict=True):
            result.add_done_callback(note(name))  # type: ignore[arg-type]
        engine.hurry(results[1])
    for result in results:
        result.result(60)
    engine.cancel(ticket)
    engine.stop()
    assert steps == {"patient": 40, "hurried": HURRY}


def test_updates_run_at_once_while_nobody_is_answered(model: ReactiveTransformer) -> None:
    engine = Engine(model, Limits(together=3))
    memory = engine.fresh(0).memory
    with engine._wake:
        results: list[Future[Ready]] = [engine.memorize(Prepared(memory), [3, 9 + n, 2]) for n in range(5)]
    for number, result in enumerate(results):
        with torch.no_grad():
            expected = model.memorize(memory, torch.tensor([[3, 9 + number, 2]]))
        torch.testing.assert_close(result.result(60).memory.slots, expected.slots)
    engine.stop()


def test_places_are_given_in_order(model: ReactiveTransformer) -> None:
    engine, order = Engine(model, Limits(places=2)), list[int]()
    heard = [Heard() for _ in range(7)]
    with engine._wake:
        for number, listener in enumerate(heard):

            def first(news: Said | Exception, number: int = number, listener: Heard = listener) -> None:
                if not listener.tokens:
                    order.append(number)
                listener(news)

            engine.answer([3, 9, 4], engine.fresh(0), GREEDY, 2 + number, first)
        assert engine.waiting == 7
    answers = [listener.wait() for listener in heard]
    engine.stop()
    assert order == sorted(order)
    assert all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(answers))


def test_cancelled_answers_leave_at_any_stage(endless: ReactiveTransformer) -> None:
    engine = Engine(endless, Limits(places=1))
    running, waiting, last = Heard(), Heard(), Heard()
    first = engine.answer([3, 4], engine.fresh(0), GREEDY, 500, running)
    second = engine.answer([3, 4], engine.fresh(0), GREEDY, 500, waiting)
    engine.answer([3, 4], engine.fresh(0), GREEDY, 3, last)
    engine.cancel(second)
    engine.cancel(first)
    assert len(last.wait()) == 3
    engine.cancel(first)
    assert not waiting.tokens
    assert (engine.running, engine.waiting) == (0, 0)
    engine.stop()


def test_mistakes_reach_only_who_made_them(model: ReactiveTransformer) -> None:
    engine = Engine(model)
    wrong, right = Heard(), Heard()
    engine.answer(list(range(64)), engine.fresh(0), GREEDY, 5, wrong)
    engine.answer([3, 4], engine.fresh(0), GREEDY, 2, right)
    assert len(right.wait()) == 2
    with pytest.raises(UserError, match="no room for an answer"):
        wrong.wait()
    with pytest.raises(IndexError):
        engine.memorize(engine.fresh(0), [99999]).result(60)
    engine.stop()


def test_a_failed_step_ends_its_answers_and_no_others(
    model: ReactiveTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, step = Engine(model), BatchDecoder.step

    def failing(self: BatchDecoder) -> dict[int, Said]:
        monkeypatch.setattr(BatchDecoder, "step", step)
        raise RuntimeError("no memory left")

    monkeypatch.setattr(BatchDecoder, "step", failing)
    heard = Heard()
    engine.answer([3, 4], engine.fresh(0), GREEDY, 5, heard)
    with pytest.raises(RuntimeError, match="no memory left"):
        heard.wait()
    other = Heard()
    engine.answer([3, 4], engine.fresh(0), GREEDY, 5, other)
    assert other.wait()
    engine.stop()


def test_stopping_finishes_what_it_can(endless: ReactiveTransformer) -> None:
    engine, heard = Engine(endless), Heard()
    engine.answer([3, 4], engine.fresh(0), GREEDY, 20, heard)
    result = engine.memorize(engine.fresh(0), [3, 2])
    engine.stop()
    assert len(heard.wait()) == 20
    assert result.done()
    assert not engine.alive
    with pytest.raises(Stopped):
        engine.answer([3, 4], engine.fresh(0), GREEDY, 20, heard)


def test_stopping_without_grace_gives_up(endless: ReactiveTransformer) -> None:
    engine, heard, queued = Engine(endless, Limits(places=1)), Heard(), Heard()
    with engine._wake:
        engine.answer([3, 4], engine.fresh(0), GREEDY, 500, heard)
        engine.answer([3, 4], engine.fresh(0), GREEDY, 500, queued)
        result = engine.memorize(engine.fresh(0), [3, 2])
    engine.stop(0.0)
    for lost in (heard, queued):
        with pytest.raises(Stopped, match="not finished"):
            lost.wait()
    assert isinstance(result.exception(), Stopped)


def test_the_queue_is_bounded(endless: ReactiveTransformer) -> None:
    engine = Engine(endless, Limits(queue=2))
    with engine._wake:
        for _ in range(2):
            engine.answer([3, 4], engine.fresh(0), GREEDY, 2, Heard())
        with pytest.raises(Overloaded, match="2 requests are waiting"):
            engine.answer([3, 4], engine.fresh(0), GREEDY, 2, Heard())
    engine.stop()
