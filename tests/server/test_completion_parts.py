"""Thinking and tool calls in ``/v1/chat/completions``, where the whole history comes each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scripted_server import LENGTH, NESTED, Scripted

from scripted_chat import BETA, CALL

PATH = "/v1/chat/completions"
CALLS = f"<think>so<answer>hello<tool_call>{CALL}<eos>"
USER = {"role": "user", "content": "my name"}
ASK: dict[str, Any] = {"messages": [USER], "tools": [NESTED], "reasoning_effort": "low"}


@pytest.fixture(scope="module")
def served() -> Iterator[Scripted]:
    scripted = Scripted(":memory:")
    yield scripted
    scripted.live.stop()


def message_of(reply: dict[str, Any]) -> dict[str, Any]:
    return reply["choices"][0]["message"]


def result(message: dict[str, Any], output: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": output}


def called(*names: str) -> dict[str, Any]:
    calls = [{"id": name, "type": "function", "function": {"name": "add", "arguments": '{"a":7}'}} for name in names]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def test_three_turns_with_a_restart_in_between(tmp_path: Path) -> None:
    messages = [USER]
    for reply, output, finish in (
        (CALLS, "8", "tool_calls"),
        (f"<answer><tool_call>{CALL}<eos>", "15", "tool_calls"),
        ("<think>so<answer>Ann<eos>", "", "stop"),
    ):
        scripted = Scripted(tmp_path / "db")
        try:
            scripted.says(reply)
            turns = scripted.live.sessions.store.stats().turns
            said = scripted.post(PATH, **ASK | {"messages": messages})
            assert scripted.live.sessions.store.stats().turns == turns + 1, "what was said before is known"
            assert said["choices"][0]["finish_reason"] == finish
            message = message_of(said)
            messages = [*messages, message, *([result(message, output)] if output else [])]
        finally:
            scripted.live.stop()
    first, *_, last = (message for message in messages if message["role"] == "assistant")
    assert (first["content"], first["reasoning_content"]) == ("hello", "so")
    assert json.loads(first["tool_calls"][0]["function"]["arguments"]) == {"a": 7}
    assert (last["content"], last["reasoning_content"], last["tool_calls"]) == ("Ann", "so", None)
    assert [message["content"] for message in messages] == ["my name", "hello", "8", None, "15", "Ann"]


@pytest.mark.parametrize(
    "reply",
    [
        CALLS,
        f"<answer><tool_call>{CALL}<eos>",
        "<think>I am Ann<answer>hello there<eos>",
        "<answer>hello<eos>",
        "<answer>hello<tool_call>add(7)<eos>",
    ],
)
def test_streamed_is_not_streamed(served: Scripted, reply: str) -> None:
    options = ASK | {"logprobs": True}
    served.says(reply)
    whole = served.post(PATH, **options)
    served.says(reply)
    text = served.live.http.post(PATH, json=options | {"stream": True, "stream_options": {"include_usage": True}}).text
    *parts, done = [part.removeprefix("data: ") for part in text.strip().split("\n\n")]
    assert done == "[DONE]"
    *chunks, last = [json.loads(part) for part in parts]
    assert last["usage"] == whole["usage"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    kinds = [name for delta in deltas for name in ("reasoning_content", "content", "tool_calls") if delta[name]]
    order = ["reasoning_content", "content", "tool_calls"]
    assert kinds == sorted(kinds, key=order.index), "one part after the other"
    message = message_of(whole)
    for name in ("reasoning_content", "content"):
        assert "".join(delta[name] or "" for delta in deltas) == (message[name] or "")
    calls = [call for delta in deltas for call in delta["tool_calls"] or ()]
    assert [call["index"] for call in calls] == list(range(len(calls)))
    assert [call["function"] for call in calls] == [call["function"] for call in message["tool_calls"] or ()]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    likely = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    told = [token for each in likely if each for token in each["content"]]
    assert told == ((whole["choices"][0]["logprobs"] or {}).get("content") or [])
    assert "".join(token["token"] for token in told) == (message["content"] or ""), "of the answer alone"
    thought = len(BETA.encode(message["reasoning_content"] or ""))
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": thought}


def test_calls_that_were_made_at_once_are_told_one_after_the_other(served: Scripted) -> None:
    """As another model made them: each call is one turn, and the results may come in any order."""
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("c", "a", "b")]
    served.says("Ann<eos>")
    asked = {"role": "user", "content": "how are you"}
    reply = served.post(PATH, messages=[asked, called("a", "b", "c"), *results], tools=[NESTED])
    turns = served.live.sessions.store.chain(reply["id"].replace("chatcmpl-", "resp_"), "")
    assert [(turn.query, turn.call.id if turn.call else None) for turn in turns] == [
        ("how are you", "a"),
        ("a", "b"),
        ("b", "c"),
        ("c", None),
    ]
    assert [turn.role for turn in turns] == ["user", "tool", "tool", "tool"]
    assert turns[-1].answer == "Ann"


def tool(name: str, output: str = "8") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": output}


HELLO = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        ([tool("a")], "call_not_waiting", "messages.0"),
        ([USER, tool("a")], "call_not_waiting", "messages.1"),
        ([USER, called("a"), tool("b")], "call_not_waiting", "messages.2"),
        ([USER, called("a"), tool("a"), tool("a")], "call_not_waiting", "messages.3"),
        ([USER, called("a"), HELLO, tool("a")], "call_not_waiting", "messages.3"),
        ([USER, called("a", "b"), tool("b"), tool("b"), tool("a")], "call_not_waiting", "messages.3"),
        ([USER, called("a", "b"), tool("b")], "missing_result", "messages.1"),
        ([USER, called("a", "b"), tool("a")], "missing_result", "messages.1"),
        ([USER, called("a", "b"), HELLO], "missing_result", "messages.1"),
        ([USER, called("a"), {"role": "tool", "content": "8"}], "missing_required_parameter", "messages.2"),
        ([USER, called(""), tool("a")], "missing_required_parameter", "messages.1"),
        ([USER, called("a")], "invalid_value", "messages.1"),
        ([USER, called("a"), tool("a", "8" * LENGTH)], "context_length_exceeded", "messages.2"),
        ([USER, called("a"), tool("a", "8" * LENGTH), HELLO], "context_length_exceeded", "messages.2"),
    ],
)
def test_histories_that_are_none(served: Scripted, messages: list[Any], code: str, param: str) -> None:
    assert served.refused(PATH, messages=messages)[:3] == (400, code, param)
    assert served.live.sessions.active == 0


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "sub"}}}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools.0"),
        ({"reasoning_effort": "endless"}, "reasoning_effort"),
        ({"function_call": {"name": "add"}}, "function_call"),
    ],
)
def test_what_cannot_be_asked_for(served: Scripted, option: dict[str, Any], param: str) -> None:
    assert served.refused(PATH, **ASK | option)[:3] == (400, "invalid_value", param)


@pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is missing: pip install '.[json]'")
def test_a_named_function_is_called(served: Scripted) -> None:
    served.wishes({60: 5.0})
    reply = served.post(PATH, **ASK, tool_choice={"type": "function", "function": {"name": "add"}})
    (call,) = message_of(reply)["tool_calls"]
    assert (call["function"]["name"], call["error"], message_of(reply)["content"]) == ("add", None, None)


def test_a_call_need_not_get_a_result(served: Scripted) -> None:
    served.says(CALLS, "<answer>Ann<eos>")
    first = message_of(served.post(PATH, **ASK))
    second = message_of(served.post(PATH, **ASK | {"messages": [USER, first, HELLO]}))
    assert second["content"] == "Ann"


def test_the_official_clients_loop(served: Scripted) -> None:
    """Streamed, with the client's own reading of calls."""
    client, messages = served.live.client(), list[Any]([USER])
    for reply in (CALLS, f"<answer><tool_call>{CALL}<eos>", "<answer>Ann<eos>"):
        served.says(reply)
        with client.chat.completions.stream(
            model="rxt",
            messages=messages,
            tools=[NESTED | {"function": NESTED["function"] | {"strict": True}}],
            reasoning_effort="low",
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or ():
            assert call.function.parsed_arguments == {"a": 7}
            messages.append(tool(call.id))
    assert messages[-1]["content"] == "Ann"


def test_the_older_form_answers_in_words(served: Scripted) -> None:
    call = BETA.tokens.tool_call
    assert call is not None
    served.wishes({60: 5.0, call: 9.0})
    reply = served.live.http.post("/v1/completions", json={"prompt": "my name", "max_tokens": 3, "tools": [NESTED]})
    assert reply.json()["choices"][0]["text"] == BETA.decode([60] * 3)
    assert reply.headers["x-rxt-unused"] == "tools"
