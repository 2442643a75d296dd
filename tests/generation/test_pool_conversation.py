"""Conversations over a pool of fragments."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from factories import FRAGMENTS, chat_model, pooled_model
from rxt.config import PoolConfig
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Conversation, MemoryUpdated
from rxt.generation.sampling import Sampling
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import active, init_pool, memorize, route, with_pool
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer

QUERIES = ["hello there", "my name is Ann", "how are you 🙂", "I live in Graz", "hello"]
WARM = Sampling(temperature=1.0, top_p=0.95)


@pytest.fixture(scope="module")
def model() -> ReactiveTransformer:
    return pooled_model()


@pytest.fixture
def chat(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> Conversation:
    return Conversation(model, tokenizer, max_new_tokens=6)


def pool_of(chat: Conversation) -> Pool:
    assert chat.pool is not None
    return chat.pool


def assert_equal(found: Pool, expected: Pool) -> None:
    assert torch.equal(found.keys.whole(), expected.keys.whole())
    assert torch.equal(found.resident, expected.resident)
    assert (found.turns, found.fingerprint) == (expected.turns, expected.fingerprint)
    for mine, theirs in zip(found.fragments, expected.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)
        assert (mine.turn, mine.writes) == (theirs.turn, theirs.writes)


def test_the_turns_are_route_decode_and_memorize(
    chat: Conversation, model: ReactiveTransformer, tokenizer: ChatTokenizer
) -> None:
    """The whole session against the plain computation: answers, pool and the reported change."""
    pool, template = init_pool(model, seed=0), Template(tokenizer, "alpha", model.config.max_length)
    for query in QUERIES:
        prompt = template.prompt(query)
        with torch.no_grad():
            turns = route(model, [pool], torch.tensor([prompt]))
            memory = active(turns)
            ids = model.generate(torch.tensor([prompt]), memory, max_new_tokens=6)
            said = ids[0, len(prompt) :].tolist()
            (written,) = memorize(model, turns, torch.tensor([template.complete(prompt, said)]))
        *_, updated = chat.stream(query)
        assert_equal(pool_of(chat), written.pool)
        assert torch.equal(chat.memory.slots, written.memory.slots)
        assert isinstance(updated, MemoryUpdated)
        change = (written.memory.slots - pool.active(written.chosen).slots).abs().mean(dim=(1, 2, 3))
        assert (updated.turn, updated.change) == (written.pool.turns, tuple(change.tolist()))
        pool = written.pool
    assert chat.turns == len(QUERIES)
    assert len(pool.fragments) > 2, "no fragment was opened: there was nothing to choose"


def test_one_fragment_is_a_plain_memory(tokenizer: ChatTokenizer) -> None:
    one = Conversation(pooled_model(PoolConfig(4, key_width=8, new_below=-1)), tokenizer, max_new_tokens=6)
    plain = Conversation(chat_model(), tokenizer, max_new_tokens=6)
    assert plain.pool is None
    for query in QUERIES[:3]:
        assert one.ask(query) == plain.ask(query)
        assert torch.equal(one.memory.slots, plain.memory.slots)
    assert len(pool_of(one).fragments) == 1


@pytest.mark.parametrize("cut", [0, 2])
def test_restored_is_uninterrupted(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, cut: int
) -> None:
    whole = Conversation(model, tokenizer, 7, WARM, max_new_tokens=6)
    expected = [whole.ask(query) for query in QUERIES]
    first = Conversation(model, tokenizer, 7, WARM, max_new_tokens=6)
    answers = [first.ask(query) for query in QUERIES[:cut]]
    first.save(tmp_path / "chat")
    second = Conversation.load(tmp_path / "chat", pooled_model(), tokenizer, 7, WARM, max_new_tokens=6)
    assert second.turns == cut
    assert torch.equal(second.memory.slots, first.memory.slots)
    answers += [second.ask(query) for query in QUERIES[cut:]]
    assert answers == expected
    assert_equal(pool_of(second), pool_of(whole))


def test_forks_share_nothing_that_they_write(chat: Conversation) -> None:
    for query in QUERIES[:4]:
        chat.ask(query)
    before = pool_of(chat)
    copy = Pool.from_bytes(before.to_bytes())
    fork, twin = chat.fork(), chat.fork()
    assert pool_of(fork) is before
    answer = fork.ask("my name is Ann")
    chat.ask("I live in Graz")
    assert_equal(before, copy)
    assert twin.ask("my name is Ann") == answer
    assert_equal(pool_of(twin), pool_of(fork))
    mine, theirs = pool_of(chat), pool_of(fork)
    written = {index: fragment for index, fragment in enumerate(mine.fragments) if fragment.turn == mine.turns}
    others = {fragment.slots.data_ptr() for index, fragment in enumerate(theirs.fragments) if fragment.turn == 5}
    assert written
    assert others
    assert not {fragment.slots.data_ptr() for fragment in written.values()} & others
    untouched = set(range(len(before.fragments))) - set(mine.changed_since(before)) - set(theirs.changed_since(before))
    assert all(mine.fragments[index] is theirs.fragments[index] for index in untouched)


def test_restore_and_reset(chat: Conversation) -> None:
    first = chat.ask("hello")
    pool = pool_of(chat)
    answers = [chat.ask(query) for query in QUERIES[1:3]]
    chat.restore(pool)
    assert chat.turns == 1
    assert [chat.ask(query) for query in QUERIES[1:3]] == answers
    chat.reset()
    assert chat.turns == 0
    assert chat.ask("hello") == first


def test_an_abandoned_stream_changes_nothing(chat: Conversation) -> None:
    chat.ask("hello")
    before = pool_of(chat)
    stream = chat.stream("my name is Ann")
    list(islice(stream, 3))
    stream.close()
    assert pool_of(chat) is before


def test_a_system_prompt_is_no_turn(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    chat = Conversation(model, tokenizer, system="you are kind", max_new_tokens=4)
    assert chat.turns == 0
    assert [(fragment.turn, fragment.writes) for fragment in pool_of(chat).fragments] == [(0, 1), (0, 1)]
    assert not torch.equal(pool_of(chat).resident, init_pool(model, 0).resident)
    chat.ask("hello")
    assert chat.turns == 1


def test_pools_of_other_models_are_refused_and_a_plain_memory_stays_one(
    chat: Conversation, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    chat.ask("hello")
    chat.save(tmp_path / "chat")
    with pytest.raises(UserError, match="keeps no fragments"):
        Conversation.load(tmp_path / "chat", chat_model(), tokenizer)
    with pytest.raises(UserError, match="other weights"):
        Conversation.load(tmp_path / "chat", with_pool(chat_model(1), FRAGMENTS), tokenizer)
    plain = Conversation(chat.model, tokenizer, max_new_tokens=4, memory=Memory(chat.memory.slots))
    plain.ask("hello")
    assert plain.pool is None
    assert plain.turns == 1
