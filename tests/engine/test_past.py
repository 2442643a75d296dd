"""What clients bring: messages of any roles in any number, longer ones than an interaction, and messages unsaid."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rxt.data.pieces import in_pieces, opening
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Past, Question, TooLong
from rxt.engine.sessions import Rules
from rxt.generation.conversation import Conversation
from rxt.pretrained import ReactiveTransformer
from rxt.store.records import Turn
from small_engine import ask, serving

LONG = "hello there, how are you? " * 20 + "what is this?"


def told(model: ReactiveTransformer, interactions: Sequence[Sequence[int]]) -> Tensor:
    """The slots of a fresh memory after these."""
    memory = model.init_memory(1, seed=0)
    with torch.no_grad():
        for ids in interactions:
            memory = model.memorize(memory, torch.tensor([list(ids)]))
    return memory.slots


def forget_memories(db: Path) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as base:
        base.execute("UPDATE turns SET status = 'answered', memory = NULL, checksum = NULL")


def test_a_long_message_is_memorized_in_pieces_and_the_last_one_asks(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    template = Template.of_model(model.config, tokenizer)
    pieces = in_pieces(template, LONG)
    assert len(pieces.lead) > 2

    async def scene() -> Turn:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            turn = await ask(sessions, Question("", LONG, most=8))
            assert (turn.query, turn.number) == (LONG, 1)
            whole = [*pieces.lead, template.complete(turn.prompt, turn.said)]
            torch.testing.assert_close((await sessions.memories.after(turn)).memory.slots, told(model, whole))
            second = await ask(sessions, Question("", "hello", (Past(LONG, turn.answer),), most=8))
            assert second.parent == turn.id, "known as the one message that it is"
            return second

    second = asyncio.run(scene())
    forget_memories(tmp_path / "db")

    async def again() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            third = await ask(sessions, Question("", "hello", previous=second.parent, most=8))
            assert third.answer == second.answer
            assert (await sessions.memories.after(third)).memory.turns == (2,)

    asyncio.run(again())


def test_long_messages_are_refused_where_the_server_was_told_so(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer, rules=Rules(pieces=1)) as sessions:
            for question, where in (
                (Question("", LONG, where="input.3"), "input.3"),
                (Question("", "hello", (Past("hello", "hi"), Past(LONG, where="input.1"))), "input.1"),
            ):
                with pytest.raises(TooLong, match=rf"^{where} is too long") as caught:
                    await sessions.begin(question)
                assert caught.value.where == where
            assert sessions.active == 0
            assert sessions.store.stats().turns == 0

    asyncio.run(scene())


def test_what_certainly_does_not_fit_is_refused_by_its_length_alone(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To tokenize a megabyte would keep everybody waiting."""
    encode = ChatTokenizer.encode

    def refuse(tokenizer: ChatTokenizer, text: str) -> list[int]:
        assert len(text) < 1_000_000
        return encode(tokenizer, text)

    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            monkeypatch.setattr(ChatTokenizer, "encode", refuse)
            for question in (Question("", "word " * 200_000), Question("", "hello", (Past("word " * 200_000),))):
                with pytest.raises(TooLong, match="1000000 characters"):
                    await sessions.begin(question)

    asyncio.run(scene())


def test_messages_of_all_roles_are_memorized_in_their_order(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    template = Template.of_model(model.config, tokenizer)
    past = (
        Past("you are kind", role="system"),
        Past("hello"),
        Past("how are you", "fine"),
        Past("", "who are you"),
        Past("be brief", role="developer"),
        Past("hello", LONG),
    )
    pieces = in_pieces(template, "hello", LONG)
    whole = [
        opening(template, "you are kind").ids,
        template.complete(template.prompt("hello"), []),
        template.complete(template.prompt("how are you"), tokenizer.encode("fine")),
        in_whole(template, "", "who are you"),
        opening(template, "be brief").ids,
        *pieces.lead,
        template.complete(pieces.prompt, pieces.said),
    ]

    async def scene(rules: Rules, store: bool) -> None:
        async with serving(":memory:", model, tokenizer, rules=rules) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            await sessions.bring("", dialogue.id, past)
            head = await sessions.turn("", str((await sessions.dialogue("", dialogue.id)).head))
            torch.testing.assert_close((await sessions.memories.after(head)).memory.slots, told(model, whole))
            assert head.instructions == "you are kind", "which a client may send again"
            kept = await ask(sessions, Question("", "hello", conversation=dialogue.id, instructions="you are kind"))
            assert kept.lead == ()
            brought = await ask(sessions, Question("new", "hello", past, store=store))
            assert brought.answer == kept.answer

    asyncio.run(scene(Rules(), True))
    asyncio.run(scene(Rules(), False))


def in_whole(template: Template, query: str, answer: str) -> list[int]:
    pieces = in_pieces(template, query, answer)
    assert pieces.lead == ()
    return template.complete(pieces.prompt, pieces.said)


@pytest.mark.parametrize("part", ["query", "answer", "both"])
def test_a_message_unsaid_is_not_in_the_memory(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, part: str
) -> None:
    past = (Past("you are kind", role="system"), Past("hello there", "hi"), Past(LONG, "fine"), Past("how are you"))
    left = {"query": (Past("", "hi"),), "answer": (Past("hello there"),), "both": ()}[part]

    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            one, other = await sessions.new_dialogue("", {}), await sessions.new_dialogue("", {})
            await sessions.bring("", one.id, past)
            chain = sessions.store.chain((await sessions.dialogue("", one.id)).head, "")
            if part in ("query", "both"):
                await sessions.unsay("", one.id, chain[1].id, "query")
            if part in ("answer", "both"):
                now = sessions.store.chain((await sessions.dialogue("", one.id)).head, "")
                await sessions.unsay("", one.id, now[1].id, "answer")
            await sessions.bring("", other.id, (past[0], *left, *past[2:]))
            heads = [await sessions.turn("", str((await sessions.dialogue("", each.id)).head)) for each in (one, other)]
            memories = [(await sessions.memories.after(head)).memory for head in heads]
            torch.testing.assert_close(memories[0].slots, memories[1].slots)
            assert memories[0].turns == memories[1].turns
            texts = [[(turn.query, turn.answer) for turn in sessions.store.chain(head.id, "")] for head in heads]
            assert texts[0] == texts[1]
            assert await sessions.turn("", chain[1].id) == chain[1].memorized(), "who goes on from there still can"

    asyncio.run(scene())


def test_unsaying_the_first_and_the_last_message(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            question = Question("", "hello", conversation=dialogue.id, instructions="you are kind", most=8)
            first = await ask(sessions, question)
            second = await ask(sessions, Question("", "how are you", conversation=dialogue.id, most=8))
            for part in ("query", "answer"):
                now = sessions.store.chain((await sessions.dialogue("", dialogue.id)).head, "")
                await sessions.unsay("", dialogue.id, now[0].id, part)
            (left,) = sessions.store.chain((await sessions.dialogue("", dialogue.id)).head, "")
            chat = Conversation(model, tokenizer, system="you are kind")
            ids = chat.template.complete(second.prompt, second.said)
            with torch.no_grad():
                expected = model.memorize(chat.memory, torch.tensor([ids]))
            torch.testing.assert_close((await sessions.memories.after(left)).memory.slots, expected.slots)
            await sessions.unsay("", dialogue.id, left.id, "query")
            (left,) = sessions.store.chain((await sessions.dialogue("", dialogue.id)).head, "")
            assert (await sessions.unsay("", dialogue.id, left.id, "answer")).head is None
            assert (await sessions.turn("", first.id)).answer == first.answer

    asyncio.run(scene())
