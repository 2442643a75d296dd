"""A batched walk is so many conversations held one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from factories import remembering_model, tiny_config, tiny_tokenizer
from rxt.data.template import Template
from rxt.evaluation.subject import Reactive, as_rows
from rxt.evaluation.walk import even_batches, prompts_of, walk
from rxt.generation.conversation import Conversation
from rxt.model.memory import Memory

CONVERSATIONS = [
    ["my name is Ann", "hello", "who am I?"],
    ["hi"],
    ["I live in Graz", "my name is Ann", "where do I live?", "hello there", "and now?"],
    ["hello there", "how are you"],
]


def template() -> Template:
    return Template(tiny_tokenizer(), "alpha", tiny_config().max_length)


def test_a_walk_is_its_conversations_alone() -> None:
    model = remembering_model()
    found = walk(Reactive(model, template()), CONVERSATIONS, seed=4, max_new_tokens=12)
    order = sorted(range(4), key=lambda index: -len(CONVERSATIONS[index]))
    fresh = model.init_memory(4, 4)
    seen = set()
    for row, index in enumerate(order):
        chat = Conversation(model, tiny_tokenizer(), max_new_tokens=12, memory=fresh.select(row))
        answers, before = [], chat.memory
        for query in CONVERSATIONS[index]:
            before = chat.memory
            answers.append(chat.ask(query))
        assert found.answers[index] == tuple(answers)
        last = found.before_last_query.select(index)
        torch.testing.assert_close(last.slots, before.slots, rtol=1e-4, atol=1e-5)
        assert last.turns == before.turns == (len(CONVERSATIONS[index]) - 1,)
        seen |= set(answers)
    assert len(seen) > 4, "the model says different things"


def test_answers_of_a_batch_are_those_alone_and_depend_on_the_memory() -> None:
    model, chat = remembering_model(), template()
    subject = Reactive(model, chat)
    prompts = [chat.prompt(query) for query in ("hello", "who am I, and where do I live?", "hi")]
    memory = model.init_memory(3, 1)
    together = subject.answer(prompts, memory, 10)
    alone = [subject.answer([prompt], memory.select(row), 10)[0] for row, prompt in enumerate(prompts)]
    assert together == alone
    assert all(len(answer) <= 10 for answer in together)
    assert subject.answer(prompts, memory.rolled(), 10) != together


def test_a_message_that_is_too_long_is_cut_and_no_other() -> None:
    chats = template()
    long = "hello there, " * 40
    (short, cut) = prompts_of(chats, ["who am I?", long])
    assert short == chats.prompt("who am I?")
    assert len(cut) == chats.max_length - chats.reserve
    whole = Template(tiny_tokenizer(), "alpha", 1_000).prompt(long)
    assert cut[:-1] == whole[: len(cut) - 1]
    assert cut[-1] == whole[-1]
    (answers,) = walk(Reactive(remembering_model(), chats), [["hi", long]], seed=4).answers
    assert len(answers) == 2


def test_rows_are_padded_on_the_right() -> None:
    ids, mask = as_rows([[5, 6, 7], [8]], template())
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(0, 4, []), (1, 4, [1]), (4, 4, [4]), (5, 4, [2, 3]), (65, 64, [32, 33]), (9, 4, [3, 3, 3])],
)
def test_batches_are_even(count: int, most: int, sizes: Sequence[int]) -> None:
    batches = even_batches(count, most)
    assert [len(batch) for batch in batches] == sizes
    assert [index for batch in batches for index in batch] == list(range(count))


def test_the_last_memories_are_in_the_order_of_the_conversations() -> None:
    found = walk(Reactive(remembering_model(), template()), CONVERSATIONS, seed=4, max_new_tokens=4)
    assert isinstance(found.before_last_query, Memory)
    assert found.before_last_query.turns == (2, 0, 4, 1)
