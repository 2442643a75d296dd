"""Perplexity under three memories is what a naive loop over single conversations finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from factories import remembering_model, tiny_config, tiny_tokenizer
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.evaluation import perplexity
from rxt.evaluation.perplexity import AnswerScore, measure_perplexity
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

WORDS = ["hello", "my name is Ann", "I live in Graz", "how are you", "there", "are you there", "hello Ann, how are you"]


def template() -> Template:
    return Template(tiny_tokenizer(), "alpha", tiny_config().max_length)


def conversations(turns: Sequence[int]) -> list[Conversation]:
    return [
        Conversation(
            tuple(Interaction(WORDS[(row + turn) % 7], WORDS[(3 * row + 2 * turn + 1) % 7]) for turn in range(count))
        )
        for row, count in enumerate(turns)
    ]


def naive(
    model: ReactiveTransformer, batch: list[Conversation], seed: int
) -> tuple[dict[str, AnswerScore], dict[str, dict[int, float]], list[tuple[float, int]]]:
    """One conversation at a time, no padding. Another's memory: that of the conversation before it, longest first.

    Also every turn's mean, and what memory saved in every conversation, with its tokens.
    """
    ordered = sorted(batch, key=lambda each: len(each.interactions), reverse=True)
    fresh = model.init_memory(len(ordered), seed)
    histories: list[list[Memory]] = []
    for row, conversation in enumerate(ordered):
        memories = [fresh.select(row)]
        for turn in conversation.interactions:
            memories.append(model.memorize(memories[-1], torch.tensor([template().interaction(turn).ids])))
        histories.append(memories)
    found, by_turn = {}, {}
    saved = {row: [0.0, 0] for row in range(len(ordered))}
    for kind in ("kept", "reset", "shuffled"):
        nats, right, later, turns = [], [], [], []
        for row, conversation in enumerate(ordered):
            for at, turn in enumerate(conversation.interactions):
                other = histories[row - 1]
                seen = {
                    "kept": histories[row][at],
                    "reset": fresh.select(row),
                    "shuffled": other[min(at, len(other) - 1)],
                }[kind]
                encoded = template().interaction(turn)
                logits = model.decode(torch.tensor([encoded.ids]), seen)[0].double().log_softmax(-1)
                for position in range(1, len(encoded.ids)):
                    if encoded.loss[position]:
                        nats.append(-logits[position - 1, encoded.ids[position]].item())
                        right.append(logits[position - 1].argmax().item() == encoded.ids[position])
                        later.append(at > 0)
                        turns.append(at + 1)
                        saved[row][0] += nats[-1] * {"kept": -1, "reset": 1, "shuffled": 0}[kind]
                        saved[row][1] += kind == "kept"
        later_nats = [value for value, is_later in zip(nats, later, strict=True) if is_later]
        found[kind] = AnswerScore(
            len(nats), sum(nats) / len(nats), sum(right) / len(right), sum(later_nats) / max(1, len(later_nats))
        )
        by_turn[kind] = {
            turn: sum(values) / len(values)
            for turn in set(turns)
            if (values := [value for value, of in zip(nats, turns, strict=True) if of == turn])
        }
    return found, by_turn, [(value, tokens) for value, tokens in saved.values()]


@pytest.mark.parametrize("turns", [(2, 2), (3, 1, 5, 2), (4, 4, 1), (1, 1)])
@torch.no_grad()
def test_it_is_the_naive_loop(turns: Sequence[int]) -> None:
    model, batch = remembering_model(), conversations(turns)
    done: list[int] = []
    found = measure_perplexity(model, template(), batch, 3, done.append)
    expected, by_turn, saved = naive(model, batch, 3)
    for kind, score in expected.items():
        measured = getattr(found, kind)
        assert vars(measured) == pytest.approx(vars(score), rel=1e-4), kind
        assert measured.perplexity == pytest.approx(math.exp(score.nats), rel=1e-4)
        assert measured.later_perplexity == pytest.approx(math.exp(score.later_nats), rel=1e-4)
        assert {turn: getattr(score, kind) for turn, score in found.by_turn.items()} == pytest.approx(
            by_turn[kind], rel=1e-4
        )
    assert sum(score.tokens for score in found.by_turn.values()) == found.kept.tokens
    total = sum(value for value, _ in saved) / sum(tokens for _, tokens in saved)
    assert found.worth.value == pytest.approx(total, rel=1e-3, abs=1e-6)
    assert found.worth.value == pytest.approx(found.reset.nats - found.kept.nats, abs=1e-9)
    each = [value / tokens for value, tokens in saved]
    assert min(each) - 1e-6 <= found.worth.low <= found.worth.value <= found.worth.high <= max(each) + 1e-6
    assert sum(done) == len(turns)
    if max(turns) > 1:
        assert len({round(score.later_nats, 6) for score in (found.kept, found.reset, found.shuffled)}) == 3, (
            "the memories differ"
        )


def test_a_conversation_left_alone_still_has_anothers_memory() -> None:
    """The longest conversation's last turns: its control must not become its own memory."""
    found = measure_perplexity(remembering_model(), template(), conversations((6, 1)), 3)
    assert found.shuffled.later_nats != pytest.approx(found.kept.later_nats, rel=1e-6)


def test_first_turns_are_alike_kept_or_reset() -> None:
    found = measure_perplexity(remembering_model(), template(), conversations((1, 1, 1)), 3)
    assert found.kept == found.reset
    assert found.kept.later_nats == 0.0
    assert (found.worth.low, found.worth.value, found.worth.high) == (0, 0, 0)
    assert math.isnan(found.later_worth.value), "there is no later turn"


def test_several_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, model = conversations((2, 2, 2, 2, 2)), remembering_model()
    whole = measure_perplexity(model, template(), batch, 3)
    monkeypatch.setattr(perplexity, "BATCH", 4)
    parts = [measure_perplexity(model, template(), part, 3) for part in (batch[:2], batch[2:])]
    found = measure_perplexity(model, template(), batch, 3)
    assert found.kept.tokens == whole.kept.tokens == sum(part.kept.tokens for part in parts)
    mean = sum(part.kept.nats * part.kept.tokens for part in parts) / found.kept.tokens
    assert found.kept.nats == pytest.approx(mean, rel=1e-6)


def test_a_system_prompt_is_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands before turn 1, so that turn 1 of all conversations is compared with turn 1, whoever has one."""
    monkeypatch.setattr(
        Template, "system", lambda self, text: Encoded(self.prompt(text), [False] * len(self.prompt(text)))
    )
    plain = conversations((3, 2, 1))
    batch = [Conversation(plain[0].interactions), Conversation(plain[1].interactions, system="hello Ann"), plain[2]]
    found = measure_perplexity(remembering_model(), template(), batch, 3)
    without = measure_perplexity(remembering_model(), template(), plain, 3)
    assert {turn: score.tokens for turn, score in found.by_turn.items()} == {
        turn: score.tokens for turn, score in without.by_turn.items()
    }
    assert found.by_turn[1].kept != pytest.approx(found.by_turn[1].reset, rel=1e-6), (
        "a system prompt is something to remember"
    )


def test_one_conversation_has_no_control() -> None:
    with pytest.raises(UserError, match="perplexity needs at least two conversations"):
        measure_perplexity(remembering_model(), template(), conversations((3,)), 3)
