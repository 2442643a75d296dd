"""Thinking and tool calls in ``/v1/responses``: what comes, what is kept, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest
from live import Live
from scripted_server import ADD, FLAT, LENGTH, Scripted

from factories import chat_model
from rxt.tools.tool import call_text
from scripted_chat import BETA, CALL

JSON = pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is missing: pip install '.[json]'")
CALLS = f"<think>so<answer>hello<tool_call>{CALL}<eos>"
PATH = "/v1/responses"
ASK: dict[str, Any] = {"input": "my name", "tools": [FLAT], "reasoning": {"effort": "low"}}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Scripted]]:
    """Starts servers over one store; all are stopped at the end."""
    running: list[Scripted] = []

    def make() -> Scripted:
        running.append(Scripted(tmp_path / "db"))
        return running[-1]

    yield make
    for each in running:
        each.live.stop()


@pytest.fixture(scope="module")
def served() -> Iterator[Scripted]:
    scripted = Scripted(":memory:")
    yield scripted
    scripted.live.stop()


def result(call: dict[str, Any], output: str) -> list[dict[str, Any]]:
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": output}]


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]


def test_three_turns_with_a_restart_in_between(start: Callable[[], Scripted]) -> None:
    """Thought, called; called again for the result; answered. Every part is there again afterwards."""
    scripted = start()
    conversation = scripted.post("/v1/conversations")["id"]
    scripted.says(CALLS)
    first = scripted.post(PATH, **ASK, conversation=conversation)
    thought, said, call = first["output"]
    assert kinds(first["output"]) == ["reasoning", "message", "function_call"]
    assert thought["summary"] == [{"type": "summary_text", "text": "so"}]
    assert said["content"][0]["text"] == "hello"
    assert (call["name"], json.loads(call["arguments"]), call["error"]) == ("add", {"a": 7}, None)
    assert first["usage"]["output_tokens_details"] == {"reasoning_tokens": len(BETA.encode("so"))}
    assert (first["status"], first["tools"], first["tool_choice"]) == ("completed", [FLAT], "auto")
    assert first["reasoning"]["effort"] == "low"
    scripted.live.stop()
    scripted = start()
    assert scripted.live.http.get(f"{PATH}/{first['id']}").json() == first
    scripted.says(f"<answer><tool_call>{CALL}<eos>")
    second = scripted.post(PATH, **ASK | {"input": result(call, "8")}, conversation=conversation)
    assert kinds(second["output"]) == ["function_call"]
    asked = scripted.live.http.get(f"{PATH}/{second['id']}/input_items").json()["data"]
    assert [(item["type"], item["output"]) for item in asked] == [("function_call_output", "8")]
    scripted.live.stop()
    scripted = start()
    scripted.says("<answer>Ann<eos>")
    third = scripted.post(PATH, **ASK | {"input": result(second["output"][0], "15")}, conversation=conversation)
    assert [part["text"] for part in third["output"][0]["content"]] == ["Ann"]
    path = f"/v1/conversations/{conversation}/items"
    items = scripted.live.http.get(path, params={"order": "asc"}).json()["data"]
    assert kinds(items) == [
        *("message", "reasoning", "message", "function_call", "function_call_output", "function_call"),
        *("function_call_output", "message"),
    ]
    assert items[1:4] == first["output"]
    assert scripted.live.http.get(f"{path}/{call['id']}").json() == call
    turns = scripted.live.sessions.store.chain(third["id"], "")
    assert [turn.number for turn in turns] == [1, 2, 3]
    assert all("TOOLS" in (turn.internal or "") for turn in turns)


def events_of(scripted: Scripted, path: str = PATH, **body: Any) -> list[dict[str, Any]]:
    text = scripted.live.http.post(path, json=body | {"stream": True}).text
    return [json.loads(part.partition("data: ")[2]) for part in text.strip().split("\n\n")]


def nameless(value: Any) -> Any:
    """A reply without the names and times that every turn has of its own."""
    if isinstance(value, dict):
        own = ("id", "created_at", "response_id", "call_id", "item_id", "previous_response_id")
        return {name: nameless(each) for name, each in value.items() if name not in own}
    return [nameless(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "reply",
    [
        CALLS,
        f"<answer><tool_call>{CALL}<eos>",
        f"<answer>hello<tool_call>{CALL}<eos>",
        f"<think>so<answer><tool_call>{CALL}<eos>",
        "<think>I am Ann<answer>hello there<eos>",
        "<think>I am<answer><eos>",
        "<think><answer>hello<eos>",
        "<answer>hello<tool_call>add(7)<eos>",
    ],
)
def test_streamed_is_not_streamed(served: Scripted, reply: str) -> None:
    served.says(reply)
    whole = served.post(PATH, **ASK)
    served.says(reply)
    events = events_of(served, **ASK)
    assert nameless(events[-1]["response"]) == nameless(whole)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    items: list[dict[str, Any]] = []
    texts: dict[int, str] = {}
    for event in events:
        if event["type"] == "response.output_item.added":
            assert event["output_index"] == len(items) == len(texts)
            assert event["item"]["status"] == "in_progress"
            texts[event["output_index"]] = ""
        elif event["type"].endswith(".delta"):
            assert event["output_index"] == len(items), "of the item that is open"
            texts[event["output_index"]] += event["delta"]
        elif event["type"] == "response.output_item.done":
            items.append(event["item"])
    assert items == events[-1]["response"]["output"]
    expected = {"reasoning": lambda item: item["summary"][0]["text"], "function_call": lambda item: item["arguments"]}
    told = [expected.get(item["type"], lambda item: item["content"][0]["text"])(item) for item in items]
    assert list(texts.values()) == told
    name = events[-1]["response"]["id"]
    again = served.live.http.get(f"{PATH}/{name}", params={"stream": True}).text
    assert [json.loads(part.partition("data: ")[2]) for part in again.strip().split("\n\n")][2:] == events[2:]


def test_a_random_model_says_the_same_streamed(tmp_path: Path) -> None:
    """Whatever comes: no marker is shown, parts come one after the other, and a stored turn is what was said."""
    live = Live(chat_model(max_length=LENGTH, tokens=BETA.tokens), BETA, tmp_path / "db")
    try:
        seen = set[str]()
        for seed in range(12):
            effort = ("low", "medium", "high")[seed % 3]
            asked = {"input": "my name", "tools": [FLAT], "reasoning": {"effort": effort}, "max_output_tokens": 40}
            body = asked | {"temperature": 1.5, "seed": seed}
            whole = live.http.post(PATH, json=body).json()
            text = live.http.post(PATH, json=body | {"stream": True}).text
            events = [json.loads(part.partition("data: ")[2]) for part in text.strip().split("\n\n")]
            assert nameless(events[-1]["response"]) == nameless(whole)
            assert live.http.get(f"{PATH}/{whole['id']}").json() == whole
            done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
            assert done == events[-1]["response"]["output"]
            order = ["reasoning", "message", "function_call"]
            assert kinds(done) == sorted(set(kinds(done)), key=order.index)
            seen |= {*kinds(done)}
        assert {"reasoning", "message"} <= seen
    finally:
        live.stop()


def test_the_order_of_events(served: Scripted) -> None:
    served.says(CALLS)
    found = [event["type"].removeprefix("response.") for event in events_of(served, **ASK)]
    once = [kind for index, kind in enumerate(found) if found[index - 1 : index] != [kind]]
    assert once == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def test_the_official_client_reads_all_of_it(served: Scripted) -> None:
    client = served.live.client()
    served.says(CALLS)
    with client.responses.stream(model="rxt", **ASK) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert kinds([item.model_dump() for item in final.output]) == ["reasoning", "message", "function_call"]
    served.says("Ann<eos>")
    call: Any = final.output[2]
    second = client.responses.create(
        model="rxt",
        previous_response_id=final.id,
        input=result(call.model_dump(), "8"),  # type: ignore[arg-type]
    )
    assert second.output_text == "Ann"


@pytest.mark.parametrize(
    ("effort", "mode", "most"),
    [
        (None, "fast", 0),
        ("none", "fast", 0),
        ("minimal", "fast", 0),
        ("low", "auto", LENGTH // 8),
        ("medium", "auto", LENGTH // 4),
        ("high", "thinking", LENGTH - LENGTH // 8),
    ],
)
def test_thinking_that_never_ends(served: Scripted, effort: str | None, mode: str, most: int) -> None:
    """The effort says how the reply begins; when its budget is spent the model answers."""
    served.wishes({60: 5.0}, first="<think>" if mode == "auto" else "")
    reply = served.post(PATH, input="my name", reasoning=effort and {"effort": effort}, max_output_tokens=3)
    turn = served.live.sessions.store.turn(reply["id"])
    assert turn is not None
    assert turn.mode == mode
    spent = reply["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert spent == turn.thinking_tokens
    assert (spent == most) if mode != "thinking" else (most - 40 < spent < most)
    assert reply["output"][-1]["content"][0]["text"] == BETA.decode([60] * 3)
    assert reply["status"] == "incomplete"
    assert len(reply["output"]) == 1 + (most > 0)


def test_probabilities_are_of_the_answer_alone(served: Scripted) -> None:
    served.says(CALLS)
    reply = served.post(PATH, **ASK, include=["message.output_text.logprobs"])
    told = reply["output"][1]["content"][0]["logprobs"]
    assert "".join(token["token"] for token in told) == "hello"


# Which tools are called.


@JSON
@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "add"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]},
    ],
)
def test_a_required_call_comes(served: Scripted, choice: object) -> None:
    served.wishes({60: 5.0})
    tools = [FLAT, FLAT | {"name": "sub"}] if choice != "required" else [FLAT]
    reply = served.post(PATH, input="my name", tools=tools, tool_choice=choice)
    (call,) = reply["output"]
    assert (call["name"], call["error"], reply["tool_choice"]) == ("add", None, choice)
    assert isinstance(json.loads(call["arguments"])["a"], int)


@JSON
def test_a_strict_tool_is_called_as_its_schema_says(served: Scripted) -> None:
    served.wishes({60: 5.0}, first="<tool_call>")
    (call,) = served.post(PATH, input="my name", tools=[FLAT | {"strict": True}])["output"]
    assert (call["name"], call["error"]) == ("add", None)


@JSON
def test_a_strict_tool_whose_schema_no_grammar_has_is_refused(served: Scripted) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    tool = FLAT | {"name": "set", "parameters": parameters}
    strict = served.refused(PATH, input="my name", tools=[FLAT, tool | {"strict": True}])
    assert (strict[0], strict[3]) == (
        400,
        'tool set: the JSON schema cannot be used: Unimplemented keys: ["uniqueItems"]',
    )
    assert served.live.sessions.active == 0
    served.says("hello<eos>")
    assert served.post(PATH, input="my name", tools=[FLAT, tool])["status"] == "completed"


@JSON
def test_a_strict_call_is_begun_only_where_it_can_end(served: Scripted) -> None:
    call, letter = BETA.tokens.tool_call, BETA.encode("a")[0]
    assert call is not None
    served.wishes({call: 9.0, letter: 5.0})
    reply = served.post(PATH, input="my name", tools=[FLAT | {"strict": True}], max_output_tokens=8)
    assert (reply["status"], reply["output"][0]["content"][0]["text"]) == ("incomplete", "a" * 8)


@pytest.mark.parametrize("options", [{}, {"tools": [FLAT], "tool_choice": "none"}, {"tools": [{"type": "web_search"}]}])
def test_nothing_is_called_that_may_not_be(served: Scripted, options: dict[str, Any]) -> None:
    call = BETA.tokens.tool_call
    assert call is not None
    served.wishes({60: 5.0, call: 9.0})
    reply = served.post(PATH, input="my name", max_output_tokens=3, **options)
    assert kinds(reply["output"]) == ["message"]
    turn = served.live.sessions.store.turn(reply["id"])
    assert turn is not None
    assert turn.internal is None, "nor is the model told of it"


def test_what_changes_nothing_is_named(served: Scripted) -> None:
    served.says("hello<eos>")
    tools = [{"type": "web_search"}, FLAT]
    reply = served.live.http.post(PATH, json=ASK | {"tools": tools, "parallel_tool_calls": True, "reasoning": None})
    assert reply.headers["x-rxt-unused"] == "parallel_tool_calls, tools.0"


# What is wrong. The conversation goes on after each.


def test_a_wrong_call_is_told_and_its_error_may_be_its_result(served: Scripted) -> None:
    for written, name, error in (
        ("add(7)", "", "the call is not JSON"),
        (call_text("sub", {}), "sub", "there is no tool 'sub'; there is add"),
        (call_text("add", {"a": "x"}), "add", "arguments.a: 'x' is not of type 'integer'"),
    ):
        served.says(f"<tool_call>{written}<eos>")
        first = served.post(PATH, input="my name", tools=[FLAT])
        (call,) = first["output"]
        assert (call["name"], call["status"]) == (name, "completed")
        assert call["error"].startswith(error)
        served.says("Ann<eos>")
        second = served.post(PATH, previous_response_id=first["id"], input=result(call, call["error"]))
        assert second["output"][0]["content"][0]["text"] == "Ann"


def test_a_call_that_is_cut_is_incomplete(served: Scripted) -> None:
    served.says(f"<tool_call>{CALL}<eos>")
    reply = served.post(PATH, input="my name", tools=[FLAT], max_output_tokens=8)
    (call,) = reply["output"]
    assert (reply["status"], call["status"], call["name"]) == ("incomplete", "incomplete", "")
    assert call["error"].startswith("the call is not JSON")


def test_results_that_nobody_waits_for(served: Scripted) -> None:
    served.says(CALLS)
    first = served.post(PATH, **ASK)
    call, after = first["output"][2], {"previous_response_id": first["id"]}
    code, where = "call_not_waiting", "input.0"
    stranger = result({"call_id": "call_7"}, "8")
    assert served.refused(PATH, input=stranger)[:3] == (400, code, where)
    assert served.refused(PATH, input=stranger, **after)[3].endswith(f"the newest is {call['call_id']}")
    twice = served.refused(PATH, input=result(call, "8") * 2, **after)
    assert twice[:3] == (400, code, "input.1")
    assert twice[3].endswith("it has its result")
    late = served.refused(PATH, input=[{"role": "user", "content": "hi"}, *result(call, "8")], **after)
    assert late[:3] == (400, code, "input.1")
    missing = served.refused(PATH, input=[{"type": "function_call_output", "output": "8"}], **after)
    assert missing[:3] == (400, "missing_required_parameter", "input.0")
    served.says("<answer>Ann<eos>", "<answer>hello<eos>")
    second = served.post(PATH, **ASK | {"input": result(call, "8")}, **after)
    again = served.refused(PATH, input=result(call, "8"), previous_response_id=second["id"])
    assert again[:3] == (400, code, where)
    assert again[3].endswith("it has its result")
    third = served.post(PATH, **ASK | {"input": "hello"}, **after)
    assert served.refused(PATH, input=result(call, "8"), previous_response_id=third["id"])[3].endswith(
        "another message came after it"
    )
    served.says("<answer>Ann<eos>")
    assert served.post(PATH, **ASK | {"input": result(call, "9")}, **after)["output"][0]["content"][0]["text"] == "Ann"


def test_a_result_that_is_too_long_leaves_the_call_waiting(served: Scripted) -> None:
    served.says(CALLS)
    first = served.post(PATH, **ASK)
    call, after = first["output"][2], {"previous_response_id": first["id"]}
    for text in ("8" * LENGTH, "8" * 100_000):
        refused = served.refused(PATH, **ASK | {"input": result(call, text)}, **after)
        assert refused[:3] == (400, "context_length_exceeded", "input.0")
    served.says("<answer>Ann<eos>")
    assert served.post(PATH, **ASK | {"input": result(call, "8")}, **after)["status"] == "completed"


def test_an_empty_result_is_a_result(served: Scripted) -> None:
    served.says(CALLS)
    first = served.post(PATH, **ASK)
    served.says("<answer>Ann<eos>")
    empty = result(first["output"][2], "")
    assert served.post(PATH, **ASK | {"input": empty}, previous_response_id=first["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("options", "code", "param"),
    [
        ({"tools": [{"type": "function", "name": "a b"}]}, "invalid_value", "tools.0"),
        ({"tools": [FLAT, {"type": "function"}]}, "invalid_value", "tools.1"),
        ({"tools": [3]}, "invalid_value", "tools.0"),
        ({"tools": [FLAT, FLAT]}, "invalid_value", "tools"),
        ({"tools": [FLAT | {"parameters": {"type": "x"}}]}, "invalid_value", "tools.0"),
        ({"tools": [FLAT | {"description": "x" * LENGTH}]}, "context_length_exceeded", "tools"),
        ({"tools": [FLAT], "tool_choice": {"type": "function", "name": "sub"}}, "invalid_value", "tool_choice"),
        ({"tools": [FLAT], "tool_choice": "sometimes"}, "invalid_value", "tool_choice"),
        ({"tools": [FLAT], "tool_choice": {"type": "web_search"}}, "invalid_value", "tool_choice"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"reasoning": {"effort": "endless"}}, "invalid_value", "reasoning.effort"),
    ],
)
def test_what_cannot_be_asked_for(served: Scripted, options: dict[str, Any], code: str, param: str) -> None:
    assert served.refused(PATH, input="my name", **options)[:3] == (400, code, param)
    assert served.live.sessions.active == 0


def test_a_required_call_needs_the_library(served: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.server.manners.can_be_json", lambda: False)
    refused = served.refused(PATH, input="my name", tools=[FLAT], tool_choice="required")
    assert refused[:3] == (400, "unsupported_value", "tool_choice")
    served.says("hello<eos>")
    assert served.post(PATH, input="my name", tools=[FLAT | {"strict": True}])["status"] == "completed"


def test_a_model_without_these_parts_takes_offers_and_answers_in_words(live: Any) -> None:
    client = live.client()
    plain = client.responses.create(input="Hello!")
    raw = client.responses.with_raw_response.create(
        input="Hello!", tools=[FLAT | {"strict": False}], tool_choice="auto", reasoning={"effort": "high"}
    )
    assert raw.parse().output_text == plain.output_text
    assert set(raw.headers["x-rxt-unused"].split(", ")) == {"tools", "tool_choice", "reasoning"}
    for choice in ("required", {"type": "function", "name": "add"}):
        with pytest.raises(openai.BadRequestError, match="this model calls no tools") as caught:
            client.responses.create(input="Hello!", tools=[FLAT | {"strict": False}], tool_choice=choice)
        assert caught.value.param == "tool_choice"


# Items by name.


def test_items_can_be_referred_to_and_deleted(served: Scripted) -> None:
    served.says(CALLS)
    first = served.post(PATH, **ASK)
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    served.says("<answer>Ann<eos>")
    told = [{"role": "user", "content": "my name"}, *references, *result(first["output"][2], "8")]
    second = served.post(PATH, **ASK | {"input": told})
    assert second["previous_response_id"] == first["id"], "known as what was said before"
    conversation = served.post("/v1/conversations", items=[{"role": "user", "content": "hello"}])["id"]
    served.says(CALLS, "<answer>Ann<eos>")
    first = served.post(PATH, **ASK, conversation=conversation)
    served.post(PATH, **ASK | {"input": result(first["output"][2], "8")}, conversation=conversation)
    path = f"/v1/conversations/{conversation}/items"

    def left() -> list[dict[str, Any]]:
        return served.live.http.get(path, params={"order": "asc"}).json()["data"]

    before = left()
    assert kinds(before) == [
        *("message", "message", "reasoning", "message", "function_call", "function_call_output", "message")
    ]
    for index in (2, 3, 4, 5):
        assert served.live.http.delete(f"{path}/{before[index]['id']}").status_code == 200
        gone = {each["id"] for each in before[2 : index + 1]}
        assert [item["id"] for item in left()] == [item["id"] for item in before if item["id"] not in gone]
    served.says("<answer>hello<eos>")
    assert served.post(PATH, **ASK, conversation=conversation)["status"] == "completed"


def test_a_conversation_may_begin_with_calls(served: Scripted) -> None:
    items = [
        {"role": "user", "content": "my name"},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": 7}'},
        *result({"call_id": "c"}, "8"),
        {"role": "assistant", "content": "Ann"},
    ]
    conversation = served.post("/v1/conversations", items=items)["id"]
    found = served.live.http.get(f"/v1/conversations/{conversation}/items", params={"order": "asc"}).json()["data"]
    assert kinds(found) == ["message", "function_call", "function_call_output", "message"]
    assert (found[1]["call_id"], found[2]["call_id"], found[2]["output"]) == ("c", "c", "8")
    assert (
        served.refused("/v1/conversations", items=[items[0], *result({"call_id": "d"}, "8")])[1] == "call_not_waiting"
    )
    assert ADD["name"] == found[1]["name"]
