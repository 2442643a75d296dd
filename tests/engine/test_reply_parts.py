"""Turns in which a model thinks, calls a tool, and answers to its result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from factories import ScriptedHead, scripted_model
from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.engine.events import NotWaiting, Past, Question, TooLong
from rxt.engine.sessions import Sessions
from rxt.errors import UserError
from rxt.generation.manner import Manner
from rxt.model.memory import Memory
from rxt.store.records import Call, Turn, next_prefix
from rxt.tools.choice import NONE, ToolChoice
from rxt.tools.tool import Tool, call_text, tools_text
from scripted_chat import ADD, BETA, CALL, LONG, ids
from small_engine import all_events, ask, serving

TOOLS = Manner("auto", tools=(ADD,))
SAID = f"<think>so<answer>hello<tool_call>{CALL}<eos>"


@asynccontextmanager
async def scripted(where: Path | str, length: int = LONG) -> AsyncIterator[tuple[Sessions, ScriptedHead]]:
    """Sessions of a model that says what its head is told to."""
    model, tokenizer, head = scripted_model(length)
    async with serving(where, model, tokenizer) as sessions:
        yield sessions, head


async def said(sessions: Sessions, head: ScriptedHead, text: str, question: Question) -> Turn:
    """A turn whose reply is ``text``."""
    head.follow(ids(text))
    return await ask(sessions, question)


async def slots(sessions: Sessions, turn: Turn) -> torch.Tensor:
    return (await sessions.memories.after(turn)).memory.slots


def memorized(sessions: Sessions, whole: Sequence[Interaction]) -> torch.Tensor:
    """A fresh memory with these, as the template encodes them for training."""
    model = sessions.engine.model
    memory: Memory = model.init_memory(1, seed=0)
    template = Template.of_model(model.config, BETA)
    with torch.no_grad():
        for each in whole:
            memory = model.memorize(memory, torch.tensor([template.interaction(each).ids]))
    return memory.slots


INTERNAL = tools_text([ADD])
WHOLE = [
    Interaction("my name", "hello", "so", CALL, internal=INTERNAL),
    Interaction("", "Ann", tool_use="8", internal=INTERNAL),
]


def test_a_call_and_its_result_with_a_restart_in_between(tmp_path: Path) -> None:
    async def scene() -> None:
        async with scripted(tmp_path / "db") as (sessions, head):
            first = await said(sessions, head, SAID, Question("", "my name", manner=TOOLS))
            assert (first.think, first.answer, first.thinking_tokens) == ("so", "hello", len(BETA.encode("so")))
            assert first.call == Call(f"call_{first.id.removeprefix('resp_')}", "add", '{"a": 7}')
        async with scripted(tmp_path / "db") as (sessions, head):
            assert await sessions.turn("", first.id) == first.memorized()
            assert first.call is not None
            result = Question("", "8", previous=first.id, manner=TOOLS, result_of=first.call.id)
            second = await said(sessions, head, "<answer>Ann<eos>", result)
            assert (second.answer, second.think, second.call, second.role) == ("Ann", None, None, "tool")
            torch.testing.assert_close(await slots(sessions, second), memorized(sessions, WHOLE))

    asyncio.run(scene())


def test_memories_of_such_turns_are_made_again(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    async def scene(name: str | None) -> str:
        async with scripted(tmp_path / "db") as (sessions, head):
            if name is None:
                first = await said(sessions, head, SAID, Question("", "my name", manner=TOOLS))
                assert first.call is not None
                asked = Question("", "8", previous=first.id, manner=TOOLS, result_of=first.call.id)
                return (await said(sessions, head, "<answer>Ann<eos>", asked)).id
            torch.testing.assert_close(await slots(sessions, await sessions.turn("", name)), memorized(sessions, WHOLE))
            return name

    name = asyncio.run(scene(None))
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as base:
        base.execute("UPDATE turns SET status = 'answered', memory = NULL, checksum = NULL")
    asyncio.run(scene(name))


def test_a_history_with_a_call_is_known_or_memorized_whole() -> None:
    """As clients bring it that send everything again: with another spelling of the arguments, without thinking."""
    call = Call("call_of_the_client", "add", '{"a":7}')
    past = Past("my name", "hello", call=call)

    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            asked = Question("", "8", (past,), manner=Manner(tools=(ADD,)), result_of=call.id)
            stranger = await said(sessions, head, "Ann<eos>", asked)
            first, _ = sessions.store.chain(stranger.id, "")
            assert (first.kind, first.call) == ("history", call)
            without = [Interaction("my name", "hello", tool_call=CALL), WHOLE[1]]
            torch.testing.assert_close(await slots(sessions, stranger), memorized(sessions, without))
            own = await said(sessions, head, SAID, Question("", "my name", manner=TOOLS))
            known = await said(sessions, head, "Ann<eos>", asked)
            assert known.parent == own.id
            torch.testing.assert_close(await slots(sessions, known), memorized(sessions, WHOLE))
            past_result = Past("8", "Ann", role="tool", result_of=call.id)
            third = await said(sessions, head, "hello<eos>", Question("", "how", (past, past_result)))
            assert third.parent == known.id

    asyncio.run(scene())


def test_prefixes_tell_parts_apart() -> None:
    call = Call("a", "add", "{}")
    known = [
        next_prefix("", "q", "a"),
        next_prefix("", "q", "a", True),
        next_prefix("", "q", "a", call=call),
        next_prefix("", "q", "a", call=replace(call, arguments='{"a": 1}')),
        next_prefix("", "q", "a", call=replace(call, name="sub")),
    ]
    assert len(set(known)) == len(known)
    assert next_prefix("", "q", "a", call=replace(call, id="b", arguments="{ }", error="x")) == known[2]


def test_results_that_nobody_waits_for() -> None:
    async def refused(sessions: Sessions, question: Question, message: str) -> None:
        with pytest.raises(NotWaiting, match=message) as caught:
            await sessions.begin(question)
        assert caught.value.where == "input.0"
        assert sessions.active == 0

    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            result = Question("", "8", manner=TOOLS, result_of="call_1", where="input.0")
            await refused(sessions, result, "no call 'call_1' waits for a result: no tool was called")
            first = await said(sessions, head, SAID, Question("", "my name", manner=TOOLS))
            assert first.call is not None
            result = replace(result, previous=first.id)
            await refused(sessions, result, f"the newest is {first.call.id}")
            result = replace(result, result_of=first.call.id)
            second = await said(sessions, head, "<answer>Ann<eos>", result)
            await refused(sessions, replace(result, previous=second.id), "it has its result")
            third = await said(sessions, head, "hello<eos>", Question("", "hello", previous=first.id))
            await refused(sessions, replace(result, previous=third.id), "another message came after it")
            again = await said(sessions, head, "<answer>Ann<eos>", result)
            assert again.answer == "Ann", "a fork has its own result"

    asyncio.run(scene())


def test_what_is_too_long_leaves_the_call_waiting() -> None:
    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            first = await said(sessions, head, SAID, Question("", "my name", manner=TOOLS))
            assert first.call is not None
            result = Question("", "8", previous=first.id, manner=TOOLS, result_of=first.call.id, where="input")
            for text in ("8" * LONG, "8" * 100_000):
                with pytest.raises(TooLong, match="too long") as caught:
                    await sessions.begin(replace(result, query=text))
                assert caught.value.where == "input"
            many = Manner(tools=(Tool("add", "x" * LONG),))
            with pytest.raises(TooLong, match="the tools are too long") as caught:
                await sessions.begin(replace(result, result_of="", manner=many))
            assert caught.value.where == "tools"
            assert (await said(sessions, head, "<answer>Ann<eos>", result)).answer == "Ann"

    asyncio.run(scene())


def test_a_long_message_leaves_room_for_the_tools() -> None:
    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            query = "hello there, how are you. " * 20
            turn = await said(sessions, head, "hello<eos>", Question("", query, manner=Manner(tools=(ADD,))))
            assert turn.lead
            assert turn.internal == INTERNAL
            assert sessions.template.text_of("query", list(turn.prompt[-12:])).strip(), "the last piece asks"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("add(7)", "the call is not JSON"),
        (call_text("sub", {}), "there is no tool 'sub'; there is add"),
        (call_text("add", {"a": "x"}), "arguments.a: 'x' is not of type 'integer'"),
    ],
)
def test_a_wrong_call_is_kept_with_its_error(written: str, error: str) -> None:
    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            asked = Question("", "my name", manner=Manner(tools=(ADD,)))
            turn = await said(sessions, head, f"<tool_call>{written}<eos>", asked)
            assert turn.call is not None
            assert (turn.call.error or "").startswith(error)
            assert turn.call.arguments in written
            result = Question("", turn.call.error or "", previous=turn.id, result_of=turn.call.id)
            assert (await said(sessions, head, "Ann<eos>", result)).answer == "Ann"

    asyncio.run(scene())


def test_a_reply_may_be_kept_from_calling() -> None:
    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            head.follow([{BETA.tokens.tool_call or 0: 9.0, 70: 5.0}, *ids("<eos>")])
            turn = await ask(sessions, Question("", "my name", manner=Manner(tool_choice=NONE)))
            assert (turn.call, turn.answer) == (None, BETA.decode([70]))

    asyncio.run(scene())


JSON = pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is missing: pip install '.[json]'")
NESTED = Tool(
    "put",
    "",
    {"$defs": {"n": {"type": "integer"}}, "properties": {"k": {"$ref": "#/$defs/n"}}, "required": ["k"],
     "type": "object", "additionalProperties": False},
)  # fmt: skip


@JSON
@pytest.mark.parametrize("manner", [Manner(tools=(ADD, NESTED)), Manner("thinking", 4, (ADD, NESTED))])
def test_a_call_that_has_to_come_comes_and_is_right(manner: Manner) -> None:
    """Whatever the model would like to say: here always the same token, which no call begins with."""

    async def scene() -> None:
        for names in ({"add"}, {"put"}, {"add", "put"}):
            async with scripted(":memory:", 3 * LONG) as (sessions, head):
                head.follow([{60: 1.0}] * LONG * 3)
                required = replace(manner, tool_choice=ToolChoice("must", frozenset(names)))
                turn = await ask(sessions, Question("", "my name", manner=required))
                assert turn.call is not None
                assert (turn.answer, turn.call.error, turn.finish_reason) == ("", None, "stop")
                assert turn.call.name in names
                assert json.loads(turn.call.arguments)
                assert turn.thinking_tokens == (4 if manner.mode == "thinking" else 0)

    asyncio.run(scene())


@JSON
def test_an_answer_in_json_after_thinking_or_a_call_instead() -> None:
    form = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})

    async def scene() -> None:
        async with scripted(":memory:") as (sessions, head):
            asked = Question("", "my name", manner=Manner("thinking", 8, (ADD,)), schema=form)
            head.follow([*ids('hello<answer>{"n":'), *[{60: 1.0}] * LONG])
            turn = await ask(sessions, asked)
            assert turn.think == "hello"
            assert isinstance(json.loads(turn.answer)["n"], int)
            turn = await said(sessions, head, f"hello<answer><tool_call>{CALL}<eos>", asked)
            assert turn.call is not None
            assert (turn.answer, turn.call.error) == ("", None)
            head.follow([*ids("hello<answer>"), *[{60: 1.0, BETA.tokens.tool_call or 0: 9.0}] * LONG])
            turn = await ask(sessions, replace(asked, manner=Manner("thinking", 8, tool_choice=NONE)))
            assert isinstance(json.loads(turn.answer)["n"], int)

    asyncio.run(scene())


def test_what_a_model_has_not_is_refused() -> None:
    from factories import chat_model, tiny_tokenizer

    async def scene() -> None:
        async with serving(":memory:", chat_model(), tiny_tokenizer()) as sessions:
            for question in (
                Question("", "hello", manner=Manner("auto")),
                Question("", "hello", manner=Manner(tools=(ADD,))),
                Question("", "hello", result_of="call_1"),
            ):
                with pytest.raises(UserError, match="the alpha template has no"):
                    await sessions.begin(question)
            assert await all_events(sessions, Question("", "hello", manner=Manner(tool_choice=NONE)))

    asyncio.run(scene())
