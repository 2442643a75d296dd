"""A turn from its prompt to the memory with it in."""

from __future__ import annotations

import pytest
import torch

from factories import chat_model
from rxt.config import SpecialTokens
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.turn import Answered, MemoryUpdated, OpenTurn, Prepared, memorize
from rxt.pretrained import ReactiveTransformer

SAID = [[3, 9, 4, 17, 2], [3, 4, 2], [3, 9, 10, 11, 4, 12, 2]]


@pytest.fixture
def template(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> Template:
    return Template.of_model(model.config, tokenizer)


def answer(turn: OpenTurn, tokens: list[int]) -> str:
    """The text of the tokens that the turn takes in before it is finished."""
    texts: list[str] = []
    for token in tokens:
        assert turn.finish_reason is None
        texts.append(turn.hear(token).text)
    return "".join(texts)


def test_an_answer_ends_with_eos_or_at_its_limit(template: Template) -> None:
    hi, eos = template.tokenizer.encode("hi there"), template.tokens.eos
    stopped, cut = OpenTurn(template, "hello"), OpenTurn(template, "hello", most=len(hi))
    assert answer(stopped, [*hi, eos]) == answer(cut, hi) == "hi there"
    assert stopped.answered() == Answered("hi there", "stop")
    assert cut.answered() == Answered("hi there", "length")
    assert stopped.interaction() == cut.interaction() == [*template.prompt("hello"), *hi, eos]


def test_the_longest_answer_leaves_room_for_eos(template: Template) -> None:
    turn = OpenTurn(template, "hello")
    answer(turn, [template.tokenizer.encode("a")[0]] * turn.limit)
    assert turn.finish_reason == "length"
    assert len(turn.interaction()) == template.max_length
    assert turn.interaction()[-1] == template.tokens.eos


def test_memorized_together_is_memorized_alone() -> None:
    model = chat_model().double().eval()
    fresh = [Prepared.fresh(model, seed) for seed in range(len(SAID))]
    for before, ids, found in zip(fresh, SAID, memorize(model, fresh, SAID), strict=True):
        with torch.no_grad():
            slots = model.memorize(before.memory, torch.tensor([ids])).slots
            projected = model.decoder.project_memory(slots)
        torch.testing.assert_close(found.memory.slots, slots)
        assert found.memory_kv is not None
        torch.testing.assert_close(found.memory_kv, projected)
        assert isinstance(found.update, MemoryUpdated)
        assert found.update.turn == 1
        change = (slots - before.memory.slots).abs().mean(dim=(1, 2, 3))
        torch.testing.assert_close(torch.tensor(found.update.change, dtype=torch.float64), change, rtol=1e-5, atol=0)
    assert memorize(model, [], []) == []


@pytest.mark.parametrize("half", [False, True])
def test_a_memory_keeps_nothing_but_itself(model: ReactiveTransformer, half: bool) -> None:
    fresh = [Prepared.fresh(model, seed) for seed in range(3)]
    for found in memorize(model, fresh, [SAID[0]] * 3, half):
        slots = found.memory.slots
        assert slots.untyped_storage().nbytes() == slots.nbytes, "not the whole batch"
        assert torch.equal(slots.half().to(slots.dtype), slots) == half


def test_a_start_counts_no_turn(model: ReactiveTransformer) -> None:
    (told,) = memorize(model, [Prepared.fresh(model, 0)], [SAID[0]])
    start = told.uncounted()
    assert (told.memory.turns, start.memory.turns, start.update) == ((1,), (0,), None)
    assert start.memory.slots is told.memory.slots


def test_a_memory_to_go_on_from_is_one_conversations_and_this_models(model: ReactiveTransformer) -> None:
    memory = Prepared.fresh(model, 1).memory
    assert torch.equal(Prepared.of(model, memory.to(dtype=torch.float64)).memory.slots, memory.slots)
    with pytest.raises(UserError, match="2 conversations"):
        Prepared.of(model, model.init_memory(2))
    with pytest.raises(UserError, match="fingerprint"):
        Prepared.of(model, chat_model(seed=5).init_memory())


def test_a_template_is_of_a_model_and_its_own_tokenizer(tokenizer: ChatTokenizer) -> None:
    with pytest.raises(UserError, match=r"tokens\.query is 3, but 9 in the model: they do not belong together"):
        Template.of_model(chat_model(tokens=SpecialTokens(query=9)).config, tokenizer)
