"""Conversations of one user in one process: they share fragments, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factories import FRAGMENTS, chat_model, pooled_model
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Conversation
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.shared_memory import SharedMemory
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz", "hello", "and you"]


@pytest.fixture(scope="module")
def model() -> ReactiveTransformer:
    """Every turn opens a fragment, so that there is much to choose from."""
    return pooled_model(replace(FRAGMENTS, most_writes=1), max_length=64)


def pool_of(chat: Conversation) -> Pool:
    assert chat.pool is not None
    return chat.pool


def assert_equal(found: Pool, expected: Pool) -> None:
    assert torch.equal(found.keys.whole(), expected.keys.whole())
    assert torch.equal(found.resident, expected.resident)
    assert found.turns == expected.turns
    for mine, theirs in zip(found.fragments, expected.fragments, strict=True):
        assert torch.equal(mine.slots, theirs.slots)


def test_alone_it_is_a_conversation_like_any_other(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    shared, alone = (Conversation(model, tokenizer, max_new_tokens=6, shared=each) for each in (SharedMemory(), None))
    assert [shared.ask(query) for query in QUERIES] == [alone.ask(query) for query in QUERIES]
    assert_equal(pool_of(shared), pool_of(alone))


def test_each_goes_on_from_what_it_has_and_from_the_newest_fragments(
    model: ReactiveTransformer, tokenizer: ChatTokenizer
) -> None:
    memory = SharedMemory()
    chats = [Conversation(model, tokenizer, max_new_tokens=6, shared=memory) for _ in range(2)]
    own = [PreparedPool.fresh(model, 0).pool for _ in chats]
    newest = own[0]
    for number, query in enumerate(QUERIES):
        chat, before = chats[number % 2], own[number % 2]
        text = chat.ask(query)
        prompt = chat.template.prompt(query)
        joined = replace(before, fragments=newest.fragments, keys=newest.keys, turns=newest.turns)
        seen = PreparedPool.of(model, joined).for_query(model, prompt)
        other = Conversation(model, tokenizer, max_new_tokens=6, memory=joined)
        assert other.ask(query) == text
        newest = own[number % 2] = pool_of(other)
        assert_equal(pool_of(chat), newest)
        assert memory.pool is pool_of(chat)
        assert seen.pool.turns == number
    stranger = Conversation(model, tokenizer, max_new_tokens=6, shared=SharedMemory())
    assert len(pool_of(stranger).fragments) == 2, "another one's memory has none of it"


def test_turns_in_several_threads_lose_nothing(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    memory = SharedMemory()

    def talk() -> None:
        chat = Conversation(model, tokenizer, max_new_tokens=2, shared=memory)
        for query in QUERIES[:4]:
            chat.ask(query)
        chat.wait()

    threads = [threading.Thread(target=talk) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.pool is not None
    assert memory.pool.turns == 12
    assert sum(fragment.writes for fragment in memory.pool.fragments) == 2 * 12


def test_forks_resets_and_a_system_prompt(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    memory = SharedMemory()
    chat = Conversation(model, tokenizer, max_new_tokens=6, shared=memory, system="you are kind")
    chat.ask(QUERIES[0])
    fork = chat.fork()
    fork.ask(QUERIES[1])
    fork.wait()
    chat.ask(QUERIES[2])
    assert pool_of(chat).turns == 4, "the system prompt was told to it, too"
    chat.reset()
    assert pool_of(chat).turns == 5
    chat.restore(pool_of(fork))
    assert pool_of(chat).turns == 5, "fragments are the newest, whatever memory it goes on from"
    memory.forget()
    assert memory.pool is None
    other = Conversation(model, tokenizer, max_new_tokens=6, shared=memory)
    assert other.ask(QUERIES[0]) == Conversation(model, tokenizer, max_new_tokens=6).ask(QUERIES[0])


def test_in_a_file(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    file = tmp_path / "ann.memory"
    for number, query in enumerate(QUERIES[:3]):
        chat = Conversation(model, tokenizer, max_new_tokens=6, shared=SharedMemory.in_file(file))
        chat.ask(query)
        assert pool_of(chat).turns == number + 1
        assert_equal(Pool.load(file), pool_of(chat))
    SharedMemory.in_file(file).forget()
    assert not file.exists()
    file.write_bytes(b"something else")
    with pytest.raises(UserError, match="not a pool"):
        SharedMemory.in_file(file)


def test_what_cannot_be_shared(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    with pytest.raises(UserError, match="needs a model that keeps fragments"):
        Conversation(chat_model(max_length=64), tokenizer, shared=SharedMemory())
    other = Conversation(pooled_model(seed=3, max_length=64), tokenizer, max_new_tokens=2)
    other.ask("hello")
    with pytest.raises(UserError, match="does not share fragments"):
        Conversation(model, tokenizer, shared=SharedMemory(pool_of(other)))
