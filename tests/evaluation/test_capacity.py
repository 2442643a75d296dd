"""Models with a pool under test: their turns are those of conversations, and what is counted is what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from factories import FRAGMENTS, chat_model, pooled_model, tiny_tokenizer
from rxt.config import PoolConfig
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.capacity import TurnCost, growth, measure_capacity, measure_turn_cost
from rxt.evaluation.pooled import Pooled
from rxt.evaluation.subject import Reactive
from rxt.evaluation.walk import prompts_of, walk
from rxt.generation.conversation import Conversation
from rxt.model.pool import Pool
from rxt.tasks.registry import task

CONVERSATIONS = [
    ["my name is Ann", "hello", "who am I?"],
    ["hi"],
    ["I live in Graz", "my name is Ann", "where do I live?", "hello there", "and now?"],
]
CONFIG = replace(FRAGMENTS, most_writes=1)


def template(length: int = 48) -> Template:
    return Template(tiny_tokenizer(), "alpha", length)


def test_a_walk_over_pools_is_its_conversations_alone() -> None:
    model = pooled_model(CONFIG)
    found = walk(Pooled(model, template()), CONVERSATIONS, seed=4, max_new_tokens=8)
    order = sorted(range(3), key=lambda index: -len(CONVERSATIONS[index]))
    memories = model.init_memory(3, 4)
    for row, index in enumerate(order):
        pool = Pool.split(memories.select(row), CONFIG)
        chat = Conversation(model, tiny_tokenizer(), max_new_tokens=8, memory=pool)
        assert found.answers[index] == tuple(map(chat.ask, CONVERSATIONS[index]))
    last = found.before_last_query[2].pool
    assert last.turns == 4
    assert len(last.fragments) > 3


def test_one_fragment_is_a_plain_memory() -> None:
    model, plain = pooled_model(PoolConfig(4, key_width=8, new_below=-1)), chat_model()
    one = walk(Pooled(model, template()), CONVERSATIONS, seed=4, max_new_tokens=8)
    other = walk(Reactive(plain, template()), CONVERSATIONS, seed=4, max_new_tokens=8)
    assert one.answers == other.answers


def test_states_are_values() -> None:
    subject = Pooled(pooled_model(CONFIG), template())
    state = subject.start(3, 1)
    prompts = prompts_of(subject.template, ["hello", "hi there", "who am I?"])
    interactions = [subject.template.complete(prompt, [20, 21]) for prompt in prompts]
    after = subject.remember(state, interactions)
    assert [each.pool.turns for each in state] == [0, 0, 0]
    assert subject.join([subject.take(after, [2]), subject.take(after, [0, 1])]) == (after[2], after[0], after[1])
    assert subject.state_bytes(after) == sum(each.pool.nbytes for each in after)
    routed = subject.route(prompts, state)
    for mine, theirs in zip(subject.remember_routed(routed, interactions), after, strict=True):
        torch.testing.assert_close(mine.pool.keys.whole(), theirs.pool.keys.whole())


def test_what_is_counted_is_what_was_seen() -> None:
    """Of pools with one fragment every question is routed right; of those that see all of them, too."""
    everyday = task("everyday")
    for config, routed in ((PoolConfig(4, key_width=8, new_below=-1), True), (CONFIG, False)):
        model = pooled_model(config, max_length=96)
        (cell,) = measure_capacity(model, template(96), everyday, [(4, 3)], 6, "test", 0)
        assert (cell.facts, cell.distance, cell.plain.asked) == (4, 3, 6)
        assert cell.pooled is not None
        assert cell.routed is not None
        assert cell.whole is not None
        assert cell.pooled.asked == cell.routed.asked == cell.whole.asked == 6
        assert cell.fragments >= (1 if routed else 4)
        if routed:
            assert cell.routed.right == 6
            assert cell.pooled == cell.plain == cell.whole
            assert cell.fragments == 1
    (plain,) = measure_capacity(chat_model(max_length=96), template(96), everyday, [(2, 1)], 2, "test", 0)
    assert plain.pooled is None
    assert plain.larger is None


def test_a_larger_memory_is_asked_the_same() -> None:
    everyday = task("everyday")
    model, larger = pooled_model(CONFIG, max_length=96), chat_model(seed=3, max_length=96)
    one = Reactive(larger, template(96))
    (cell,) = measure_capacity(model, template(96), everyday, [(4, 3)], 6, "test", 0, larger=one)
    (alone,) = measure_capacity(larger, template(96), everyday, [(4, 3)], 6, "test", 0)
    assert cell.larger == alone.plain


def test_all_fragments_at_once_are_a_memory_of_so_many_slots() -> None:
    """A pool of which a turn sees all says the same; one that has more is another memory, and longer."""
    subject = Pooled(pooled_model(CONFIG), template())
    (prompt,) = prompts_of(subject.template, ["who am I?"])
    (state,) = subject.remember(subject.start(1, 1), [subject.template.complete(prompt, [20, 21])])
    assert len(state.pool.fragments) == CONFIG.chosen
    (said,) = subject.answer_routed([prompt], subject.route([prompt], (state,)), 8)
    assert subject.answer_whole(prompt, state.pool, 8) == said
    (more,) = subject.remember((state,), [subject.template.complete(prompt, [30, 31])])
    assert more.pool.active(range(len(more.pool.fragments))).slots.shape[2] > state.memory.slots.shape[2]
    assert len(subject.answer_whole(prompt, more.pool, 8)) <= 8


def test_turns_of_any_number_of_fragments_are_timed() -> None:
    model = pooled_model(CONFIG)
    found = measure_turn_cost(model, template(), (2, 50), repeats=1)
    assert [cost.fragments for cost in found] == [2, 50]
    for cost in found:
        assert cost.first_token is not None
        assert 0 < cost.route < cost.first_token
        assert cost.update > 0
    with pytest.raises(UserError, match="sees 2 fragments, a pool cannot have 1"):
        measure_turn_cost(model, template(), (1,))


def test_growth_is_from_the_fewest_fragments_to_the_most() -> None:
    costs = [TurnCost(100, 1.0, 3.0, 5.0), TurnCost(1, 1.0, 2.0, 4.0), TurnCost(10, 9.0, 9.0, 9.0)]
    assert growth(costs) == (1.25, 1.5)
    assert growth([TurnCost(1, 1.0, 2.0), *costs[:1]]) is None
