"""What clients send by habit: system messages, null, options that a small model has no use for, whole histories."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import openai
import pytest
import torch
from live import Live

from rxt.data.pieces import opening
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.sampling import Sampling
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.store.records import chain_prefix

REX = "My dog is called Rex."
DOG = "What is my dog called?"
KIND = "You are a helpful assistant. My dog is called Rex."
LONG = "The weather was fine and we went for a walk. " * 40
CALL: Any = {"type": "function", "function": {"name": "f", "description": "f", "parameters": {"type": "object"}}}


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("role", ["system", "developer", "instructions"])
def test_a_system_message_is_memorized_at_the_start(
    live: Live, bundled: tuple[ReactiveTransformer, ChatTokenizer], role: str
) -> None:
    client, (model, tokenizer) = live.client(), bundled
    said: Any = [user(DOG)] if role == "instructions" else [{"role": role, "content": KIND}, user(DOG)]
    first = client.responses.create(input=said, instructions=KIND if role == "instructions" else None)
    assert "Rex" in first.output_text
    assert first.metadata == {}
    ids = opening(Template.of_model(model.config, tokenizer), KIND).ids
    with torch.no_grad():
        begun = model.memorize(model.init_memory(1, seed=0), torch.tensor([ids]))
        turn = live.sessions.store.turn(first.id)
        assert turn is not None
        whole = torch.tensor([[*turn.prompt, *turn.said]])
        expected = model.memorize(begun, whole)
    memory = Memory.from_bytes(live.http.get(f"/v1/responses/{first.id}/memory").content)
    torch.testing.assert_close(memory.slots, expected.slots)
    assert memory.turns == (1,)
    if role != "instructions":
        reply = client.chat.completions.create(model="rxt", messages=said)
        assert reply.choices[0].message.content == first.output_text


def test_a_system_message_that_is_cut_says_so(live: Live) -> None:
    client = live.client()
    raw = client.responses.with_raw_response.create(input=DOG, instructions=REX + LONG, metadata={"a": "b"})
    reply = raw.parse()
    metadata = reply.metadata or {}
    assert metadata["a"] == "b"
    assert "first 128 tokens" in metadata["rxt_warning"]
    assert raw.headers["x-rxt-warning"] == metadata["rxt_warning"]
    assert client.responses.retrieve(reply.id).metadata == metadata
    messages: Any = [{"role": "system", "content": REX + LONG}, user(DOG)]
    chat = client.chat.completions.with_raw_response.create(model="rxt", messages=messages)
    assert chat.headers["x-rxt-warning"] == metadata["rxt_warning"]
    assert chat.http_response.json()["metadata"] == {"rxt_warning": metadata["rxt_warning"]}
    streamed = live.http.post("/v1/chat/completions", json={"messages": messages, "stream": True})
    assert streamed.headers["x-rxt-warning"] == metadata["rxt_warning"]


def test_null_means_absent_everywhere(live: Live) -> None:
    from rxt.server.requests import ChatRequest, ResponseRequest

    for path, request, said in (
        ("/v1/responses", ResponseRequest, {"input": [user(REX) | {"tool_calls": None, "audio": None}]}),
        ("/v1/chat/completions", ChatRequest, {"messages": [user(REX) | {"refusal": None, "name": None}]}),
    ):
        nothing = dict.fromkeys([*request.model_fields, "frobnicate"])
        reply = live.http.post(path, json=nothing | said)
        assert reply.status_code == 200, reply.text
        assert "x-rxt-unused" not in reply.headers


def test_options_without_a_use_are_taken_and_named(live: Live) -> None:
    client = live.client()
    plain = client.responses.create(input=REX)
    raw = client.responses.with_raw_response.create(
        model="rxt",
        input=REX,
        tools=[{"type": "function", "name": "f", "parameters": {}, "strict": True}, {"type": "web_search"}],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content"],
        truncation="auto",
        service_tier="auto",
        user="anna",
        store=True,
        text={"format": {"type": "text"}, "verbosity": "low"},
    )
    assert raw.parse().output_text == plain.output_text
    named = set(raw.headers["x-rxt-unused"].split(", "))
    assert named == {
        *("tools", "tool_choice", "parallel_tool_calls", "reasoning", "truncation", "service_tier", "user"),
        *("text.verbosity", "include.reasoning.encrypted_content"),
    }
    messages: Any = [user([{"type": "text", "text": REX, "cache_control": {"type": "ephemeral"}}])]
    chat = client.chat.completions.with_raw_response.create(
        model="rxt",
        messages=messages,
        tools=[CALL],
        tool_choice="auto",
        n=1,
        reasoning_effort="low",
        logit_bias={},  # type: ignore[list-item]
    )
    assert chat.parse().choices[0].message.content == plain.output_text
    named = set(chat.headers["x-rxt-unused"].split(", "))
    assert named == {"tools", "tool_choice", "reasoning_effort", "messages.0.content.0.cache_control"}


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"n": 2}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"modalities": ["text", "audio"]}, "modalities.1"),
        ({"logit_bias": {"5": 10}}, "logit_bias"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
    ],
)
def test_what_would_make_another_answer_is_refused(live: Live, option: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        live.client().chat.completions.create(model="rxt", messages=[user(REX)], extra_body=option)  # type: ignore[list-item]
    assert caught.value.param == param


def test_the_servers_own_answers_can_be_sent_back(live: Live) -> None:
    client = live.client()
    first = client.responses.create(input=REX)
    again = client.responses.create(
        input=[user(REX), *(item.model_dump() for item in first.output), user(DOG)]  # type: ignore[list-item]
    )
    assert "Rex" in again.output_text
    assert again.previous_response_id == first.id, "known as what was said before"
    reply = client.chat.completions.create(model="rxt", messages=[user(REX)])  # type: ignore[list-item]
    messages: Any = [user(REX), reply.choices[0].message.model_dump(), user(DOG)]
    turns = live.sessions.store.stats().turns
    assert "Rex" in str(client.chat.completions.create(model="rxt", messages=messages).choices[0].message.content)
    assert live.sessions.store.stats().turns == turns + 1
    refused: Any = [
        user(REX),
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}, {"type": "text", "text": "", "role": "x"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        user(DOG),
    ]
    raw = client.chat.completions.with_raw_response.create(model="rxt", messages=refused)
    assert "Rex" in str(raw.parse().choices[0].message.content)
    assert "messages.2.tool_calls" in raw.headers["x-rxt-unused"]


def test_calls_and_thoughts_in_a_history_are_left_out_and_named(live: Live) -> None:
    past: Any = [
        user(REX),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "dogs"}},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "It is sunny."},
        user(DOG),
    ]
    raw = live.client().responses.with_raw_response.create(input=past)
    assert "Rex" in raw.parse().output_text
    assert set(raw.headers["x-rxt-unused"].split(", ")) == {"input.1", "input.2", "input.3"}
    texts = [turn.query for turn in live.sessions.store.chain(raw.parse().id, "")]
    assert texts == [REX, "It is sunny.", DOG]


def test_items_can_be_referred_to(live: Live) -> None:
    client = live.client()
    first = client.responses.create(input=REX)
    referred: Any = {"type": "item_reference", "id": first.output[0].id}
    second = client.responses.create(input=[user(REX), referred, user(DOG)])  # type: ignore[list-item]
    assert "Rex" in second.output_text
    assert second.previous_response_id == first.id


def test_messages_in_any_order(live: Live) -> None:
    client = live.client()
    two: Any = [user(REX), user(DOG)]
    assert "Rex" in client.responses.create(input=two).output_text
    reminded: Any = [user(DOG), {"role": "system", "content": REX}]
    assert "Rex" in client.responses.create(input=reminded).output_text, "told before the question is answered"
    greeted: Any = [{"role": "assistant", "content": "Hello! How can I help?"}, user(REX), user(DOG)]
    assert "Rex" in str(client.chat.completions.create(model="rxt", messages=greeted).choices[0].message.content)
    alone: Any = [{"role": "system", "content": REX}]
    assert client.chat.completions.create(model="rxt", messages=alone).choices[0].message.content


def test_a_long_message_is_answered(serve: Callable[..., Live]) -> None:
    from rxt.engine.sessions import Rules

    live = serve()
    reply = live.client().responses.create(input=f"{REX} {LONG} {DOG}")
    assert reply.output_text
    assert reply.usage is not None
    assert reply.usage.input_tokens > 400
    assert live.client().responses.input_items.list(reply.id).data[0].content[0].text.startswith(REX)  # type: ignore[union-attr]
    strict = serve(rules=Rules(pieces=1), db=":memory:")
    messages: Any = [user(REX), {"role": "assistant", "content": "Ah."}, user(LONG)]
    with pytest.raises(openai.BadRequestError) as caught:
        strict.client().chat.completions.create(model="rxt", messages=messages)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages.2")


def test_items_of_a_conversation(live: Live) -> None:
    client = live.client()
    conversation = client.conversations.create(
        metadata={"topic": "demo"}, items=[{"type": "message", "role": "user", "content": "Hello!"}]
    )
    added = client.conversations.items.create(
        conversation.id,
        items=[
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": REX}]},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How are you?"}]},
        ],
    )
    assert [(item.role, item.content[0].text) for item in added.data] == [  # type: ignore[union-attr]
        ("user", REX),
        ("developer", "Be kind."),
        ("user", "How are you?"),
    ]
    first, *_ = added.data
    assert client.conversations.items.retrieve(str(first.id), conversation_id=conversation.id) == first
    assert "Rex" in client.responses.create(input=DOG, conversation=conversation.id).output_text
    ids = [item.id for item in client.conversations.items.list(conversation.id, order="asc")]
    assert len(ids) == 6
    assert client.conversations.items.delete(str(first.id), conversation_id=conversation.id).id == conversation.id
    left = [item.id for item in client.conversations.items.list(conversation.id, order="asc")]
    assert left == [name for name in ids if name != first.id], "the others keep their names"
    last = left[-1]
    client.conversations.items.delete(str(last), conversation_id=conversation.id)
    client.conversations.items.delete(str(left[-2]), conversation_id=conversation.id)
    assert "Rex" not in client.responses.create(input=DOG, conversation=conversation.id).output_text
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(str(first.id), conversation_id=conversation.id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.delete("msg_1", conversation_id=conversation.id)


def test_pages(live: Live) -> None:
    client = live.client()
    texts = [f"Number {number}." for number in range(5)]
    conversation = client.conversations.create(items=[user(text) for text in texts])  # type: ignore[misc]

    def page(**query: object) -> list[str]:
        reply = live.http.get(f"/v1/conversations/{conversation.id}/items", params=query)  # type: ignore[arg-type]
        return [item["content"][0]["text"] for item in reply.json()["data"]]

    names = [item.id for item in client.conversations.items.list(conversation.id, order="asc", limit=2)]
    assert page(order="asc") == texts
    assert page() == texts[::-1]
    assert page(order="asc", after=names[1], limit=2) == texts[2:4]
    assert page(order="asc", before=names[3]) == texts[:3]
    assert page(order="asc", before=names[3], limit=2) == texts[1:3]
    assert page(order="asc", after=names[0], before=names[3]) == texts[1:3]
    assert page(after=names[1]) == texts[:1]
    assert page(after="msg_nothing") == page(before="msg_nothing") == []
    conversations = [live.http.post("/v1/conversations").json()["id"] for _ in range(3)]
    listed = live.http.get("/v1/conversations", params={"limit": 2}).json()
    assert [each["id"] for each in listed["data"]] == conversations[:0:-1]
    assert (listed["has_more"], listed["last_id"]) == (True, conversations[1])
    rest = live.http.get("/v1/conversations", params={"after": listed["last_id"]}).json()
    assert [each["id"] for each in rest["data"]] == [conversations[0], conversation.id]


def test_a_stored_response_is_streamed_again(live: Live) -> None:
    client = live.client()
    events = list(client.responses.create(input=REX, stream=True))
    name = events[0].response.id  # type: ignore[union-attr]
    again = list(client.responses.retrieve(name, stream=True))
    assert [event.type for event in again] == [event.type for event in events]
    assert [event.sequence_number for event in again] == [event.sequence_number for event in events]
    deltas = [event.delta for event in again if event.type == "response.output_text.delta"]
    assert deltas == [event.delta for event in events if event.type == "response.output_text.delta"]
    assert again[-1] == events[-1]
    late = list(client.responses.retrieve(name, stream=True, starting_after=5))
    assert late == again[6:]


def test_the_memorys_update_is_told_to_who_asks(live: Live) -> None:
    plain, asked = (
        live.http.post("/v1/responses", json={"input": REX, "stream": True, "include": include}).text
        for include in ([], ["rxt.memory.updated"])
    )
    assert "rxt.memory.updated" not in plain
    assert asked.count("event: rxt.memory.updated") == 1


def test_an_answer_ends_before_a_stop_text(live: Live) -> None:
    client = live.client()
    first = client.responses.create(input=REX)
    messages: Any = [user(REX), {"role": "assistant", "content": first.output_text}, user(DOG)]
    plain = client.chat.completions.create(model="rxt", messages=messages).choices[0].message.content or ""
    cut = client.chat.completions.create(model="rxt", messages=messages, stop=["nothing", "Rex"])
    assert cut.choices[0].message.content == plain.partition("Rex")[0]
    assert cut.choices[0].finish_reason == "stop"
    chunks = list(client.chat.completions.create(model="rxt", messages=messages, stop="Re", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.partition("Re")[0]
    assert chunks[-1].choices[0].finish_reason == "stop"
    never = client.chat.completions.create(model="rxt", messages=messages, stop=["Rex!?"])
    assert never.choices[0].message.content == plain
    deadline = time.monotonic() + 30
    while live.sessions.engine.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert live.sessions.engine.running == 0, "nobody goes on with an answer that has ended"
    kept = client.responses.create(input=DOG, previous_response_id=first.id, extra_body={"stop": "Rex"})
    assert client.responses.retrieve(kept.id).output_text == kept.output_text == plain.partition("Rex")[0]
    told: Any = [*messages, {"role": "assistant", "content": kept.output_text}, user("Hello!")]
    turns = live.sessions.store.stats().turns
    client.chat.completions.create(model="rxt", messages=told)
    assert live.sessions.store.stats().turns == turns + 1, "what was shown is what is remembered"


def test_seeds_and_penalties(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    client = live.client()

    def said(**options: Any) -> str:
        messages: Any = [user("Tell me about dogs.")]
        reply = client.chat.completions.create(model="rxt", messages=messages, **options)
        return str(reply.choices[0].message.content)

    assert said(temperature=1.5, seed=-5) == said(temperature=1.5, seed=-5)
    assert len({said(temperature=1.5, seed=seed) for seed in range(6)}) > 1
    first = client.responses.create(input="Tell me about dogs.", temperature=1.5, extra_body={"seed": 3})
    assert first.output_text == said(temperature=1.5, seed=3)
    engine, asked = live.sessions.engine, list[Sampling]()
    answer = engine.answer

    def noted(prompt: Any, prepared: Any, sampling: Sampling, *rest: Any) -> Any:
        asked.append(sampling)
        return answer(prompt, prepared, sampling, *rest)

    monkeypatch.setattr(engine, "answer", noted)
    said(frequency_penalty=-2, presence_penalty=1.5, top_p=0.5, seed=4, temperature=0.1)
    penalties = Sampling(0.1, top_p=0.5, seed=4, frequency_penalty=-2, presence_penalty=1.5)
    assert asked == [penalties], "the engine's own tests say what they do"
    assert said(frequency_penalty=0, presence_penalty=0) == said()


def test_log_probabilities(live: Live, bundled: tuple[ReactiveTransformer, ChatTokenizer]) -> None:
    client, (model, tokenizer) = live.client(), bundled
    messages: Any = [user(REX)]
    reply = client.chat.completions.create(model="rxt", messages=messages, logprobs=True, top_logprobs=2)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    told = logprobs.content or []
    answer = str(reply.choices[0].message.content)
    assert b"".join(bytes(token.bytes or []) for token in told).decode() == answer
    turn = live.sessions.store.by_prefix("", chain_prefix(chain_prefix("0", "", ""), REX, answer), model.fingerprint())
    assert turn is not None
    with torch.no_grad():
        ids = torch.tensor([[*turn.prompt, *turn.said]])
        scores = model.decode(ids, model.init_memory(1, seed=0))[0].log_softmax(-1)
    for index, token in enumerate(told):
        at = len(turn.prompt) + index
        assert token.logprob == pytest.approx(float(scores[at - 1, ids[0, at]]), abs=1e-3)
        assert [each.logprob for each in token.top_logprobs] == pytest.approx(
            scores[at - 1].topk(2)[0].tolist(), abs=1e-3
        )
        assert token.top_logprobs[0].token == token.token == tokenizer.spell([int(ids[0, at])]), "greedy"
    chunks = client.chat.completions.create(model="rxt", messages=messages, logprobs=True, top_logprobs=2, stream=True)
    streamed = [
        token for chunk in chunks if (found := chunk.choices[0].logprobs) is not None for token in found.content or []
    ]
    assert streamed == told
    first = client.responses.create(input=REX, include=["message.output_text.logprobs"], top_logprobs=2)
    values = first.output[0].content[0].logprobs  # type: ignore[union-attr]
    assert [(each.token, each.logprob) for each in values or []] == [(each.token, each.logprob) for each in told]
    events = client.responses.create(input=REX, include=["message.output_text.logprobs"], stream=True)
    deltas = [each for event in events if event.type == "response.output_text.delta" for each in event.logprobs or []]
    assert [each.token for each in deltas] == [each.token for each in told]
    assert client.responses.create(input=REX).output[0].content[0].logprobs == []  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError, match="top_logprobs needs logprobs"):
        client.chat.completions.create(model="rxt", messages=messages, top_logprobs=2)


@pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is missing: pip install '.[json]'")
def test_answers_in_json(live: Live) -> None:
    from pydantic import BaseModel

    class Dog(BaseModel):
        name: str
        age: int

    client = live.client()
    messages: Any = [user(REX)]
    chat = client.chat.completions.create(model="rxt", messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(str(chat.choices[0].message.content)), dict)
    assert isinstance(
        client.chat.completions.parse(model="rxt", messages=messages, response_format=Dog).choices[0].message.parsed,
        Dog,
    )
    first = client.responses.parse(input=REX, text_format=Dog)
    assert isinstance(first.output_parsed, Dog)
    assert first.status == "completed"
    form = client.responses.retrieve(first.id).text
    assert form is not None
    assert form.format is not None
    assert (form.format.type, form.format.name) == ("json_schema", "Dog")  # type: ignore[union-attr]
    with client.responses.stream(input=REX, text_format=Dog, model="rxt") as stream:
        assert stream.get_final_response().output_parsed == first.output_parsed
    plain = client.responses.create(input=REX, text={"format": {"type": "json_object"}}, max_output_tokens=12)
    assert isinstance(json.loads(plain.output_text), dict)
    with pytest.raises(openai.BadRequestError, match="the JSON schema cannot be used"):
        client.responses.create(
            input=REX, text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "x"}}}
        )


def test_json_without_the_library_is_refused(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.server.translate.can_be_json", lambda: False)
    with pytest.raises(openai.BadRequestError, match="llguidance") as caught:
        live.client().responses.create(input=REX, text={"format": {"type": "json_object"}})
    assert caught.value.param == "text.format"
