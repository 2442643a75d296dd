"""The official client talks to the server as it would to any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openai
import pytest
import torch
from live import Live

from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.conversation import Conversation
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

REX = "My dog is called Rex."
DOG = "What is my dog called?"


def test_the_readme_lines_hold_a_conversation(live: Live) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = next(block.partition("```")[0] for block in readme.split("```python\n") if block.startswith("from openai"))
    said: list[str] = []
    exec(
        code.replace("http://127.0.0.1:8000", live.url),
        {"print": lambda *parts: said.append(" ".join(map(str, parts)))},
    )
    assert len(code.strip().splitlines()) <= 12
    assert "Rex" in said[-2]
    assert "Rex" not in said[-1]


def test_only_the_newest_message_is_sent(live: Live) -> None:
    client = live.client()
    first = client.responses.create(model="rxt", input=REX)
    second = client.responses.create(model="rxt", input=DOG, previous_response_id=first.id)
    assert "Rex" in second.output_text
    assert second.previous_response_id == first.id
    assert second.status == "completed"
    assert second.usage is not None
    assert second.usage.input_tokens < 20
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert client.responses.input_items.list(second.id).data[0].content[0].text == DOG  # type: ignore[union-attr]


def test_a_fork_knows_what_was_said_before_it(live: Live, bundled: tuple[ReactiveTransformer, ChatTokenizer]) -> None:
    client = live.client()
    first = client.responses.create(model="rxt", input=REX)
    client.responses.create(model="rxt", input="My name is Anna.", previous_response_id=first.id)
    previous, said = first.id, list[str]()
    queries = ["My name is John.", DOG, "What is my name?"]
    for query in queries:
        reply = client.responses.create(model="rxt", input=query, previous_response_id=previous)
        previous = reply.id
        said.append(reply.output_text)
    alone = Conversation(*bundled)
    assert [first.output_text, *said] == [alone.ask(query) for query in (REX, *queries)], (
        "the other branch has left no trace"
    )


def test_a_conversation_goes_on_after_a_restart(serve: Callable[..., Live]) -> None:
    live = serve()
    conversation = live.client().conversations.create(metadata={"title": "dogs"})
    live.client().responses.create(model="rxt", input=REX, conversation=conversation.id)
    live.stop()
    client = serve().client()
    assert client.conversations.retrieve(conversation.id).metadata == {"title": "dogs"}
    assert "Rex" in client.responses.create(model="rxt", input=DOG, conversation=conversation.id).output_text
    assert [item.role for item in client.conversations.items.list(conversation.id)] == ["assistant", "user"] * 2  # type: ignore[union-attr]


def test_events_come_in_their_order(live: Live) -> None:
    asked = ["rxt.memory.updated"]
    events = list(live.client().responses.create(model="rxt", input=REX, stream=True, include=asked))  # type: ignore[arg-type]
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert deltas > 2
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
        "rxt.memory.updated",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    completed = next(event for event in events if event.type == "response.completed")
    assert completed.response.output_text == text


def test_the_stream_helper(live: Live) -> None:
    with live.client().responses.stream(model="rxt", input=REX) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


def test_a_cut_answer_says_so(live: Live) -> None:
    client = live.client()
    cut = client.responses.create(model="rxt", input=REX, max_output_tokens=2)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(model="rxt", input=REX, max_output_tokens=2, stream=True)
    assert last.type == "response.incomplete"


def test_deleting(live: Live) -> None:
    client = live.client()
    first = client.responses.create(model="rxt", input=REX)
    second = client.responses.create(model="rxt", input="Hello!", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="rxt", input=DOG, previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"
    assert "Rex" in client.responses.create(model="rxt", input=DOG, previous_response_id=second.id).output_text
    conversation = client.conversations.create()
    said = client.responses.create(model="rxt", input=REX, conversation=conversation.id)
    assert client.conversations.delete(conversation.id).deleted
    for gone in (lambda: client.conversations.retrieve(conversation.id), lambda: client.responses.retrieve(said.id)):
        with pytest.raises(openai.NotFoundError):
            gone()


def test_conversations_with_a_past(live: Live) -> None:
    client = live.client()
    past = [{"role": "user", "content": REX}, {"role": "assistant", "content": "I hope Rex is a happy dog."}]
    conversation = client.conversations.create(items=past)  # type: ignore[arg-type]
    assert "Rex" in client.responses.create(model="rxt", input=DOG, conversation=conversation.id).output_text
    client.conversations.items.create(
        conversation.id,
        items=[{"role": "user", "content": "My name is Anna."}, {"role": "assistant", "content": "Hello Anna!"}],  # type: ignore[list-item]
    )
    assert (
        "Anna"
        in client.responses.create(model="rxt", input="What is my name?", conversation=conversation.id).output_text
    )
    assert client.conversations.update(conversation.id, metadata={"a": "b"}).metadata == {"a": "b"}
    pages = client.conversations.items.list(conversation.id, limit=3, order="asc")
    assert [item.content[0].text for item in pages][:3] == [REX, "I hope Rex is a happy dog.", DOG]  # type: ignore[union-attr]


def test_chat_completions(live: Live) -> None:
    client = live.client()
    messages = [{"role": "user", "content": REX}]
    for query in ("Hello!", DOG):
        answer = client.chat.completions.create(model="rxt", messages=messages).choices[0].message.content  # type: ignore[arg-type]
        messages += [{"role": "assistant", "content": str(answer)}, {"role": "user", "content": query}]
    turns = live.sessions.store.stats().turns
    reply = client.chat.completions.create(model="rxt", messages=messages)  # type: ignore[arg-type]
    assert "Rex" in str(reply.choices[0].message.content)
    assert live.sessions.store.stats().turns == turns + 1, "nothing of the known history was read again"
    chunks = list(
        client.chat.completions.create(
            model="rxt",
            messages=messages,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == reply.choices[0].message.content
    assert chunks[-1].usage == reply.usage
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def test_completions(live: Live, bundled: tuple[ReactiveTransformer, ChatTokenizer]) -> None:
    client, expected = live.client(), Conversation(*bundled).ask(REX)
    reply = client.completions.create(model="rxt", prompt=REX, logprobs=2, max_tokens=64)
    assert reply.choices[0].text == expected
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    likely = reply.choices[0].logprobs
    assert likely is not None
    assert "".join(likely.tokens or ()) == expected
    assert likely.text_offset == [
        len("".join((likely.tokens or [])[:index])) for index in range(len(likely.tokens or ()))
    ]
    assert all(len(top) == 2 for top in likely.top_logprobs or ())
    options = {"include_usage": True}
    chunks = list(
        client.completions.create(
            model="rxt",
            prompt=[REX],
            echo=True,
            logprobs=0,
            stream=True,
            stream_options=options,  # type: ignore[arg-type]
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == REX + expected
    streamed = [
        token
        for each in choices
        if each.logprobs
        for token in zip(each.logprobs.tokens, each.logprobs.text_offset, strict=True)
    ]  # type: ignore[arg-type]
    assert streamed == [
        (token, len(REX) + offset) for token, offset in zip(likely.tokens or (), likely.text_offset or (), strict=True)
    ]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage == reply.usage
    cut = client.completions.create(model="rxt", prompt=REX, max_tokens=1, stop=["zzz"])
    assert cut.choices[0].finish_reason == "length"
    for wrong in ({"prompt": ["a", "b"]}, {"prompt": [1, 2]}, {"prompt": "a", "suffix": "b"}, {"prompt": "a", "n": 2}):
        assert live.http.post("/v1/completions", json=wrong).status_code == 400, wrong
    assert live.http.get("/v1/responses/" + reply.id.replace("cmpl-", "resp_")).status_code == 404, "nothing is kept"


def test_memories_as_files(live: Live) -> None:
    client = live.client()
    conversation = client.conversations.create()
    assert live.http.get(f"/v1/conversations/{conversation.id}/memory").status_code == 409
    said = client.responses.create(model="rxt", input=REX, conversation=conversation.id)
    content = live.http.get(f"/v1/conversations/{conversation.id}/memory").content
    same = live.http.get(f"/v1/responses/{said.id}/memory").content
    assert torch.equal(Memory.from_bytes(content).slots, Memory.from_bytes(same).slots)
    brought = live.http.post("/v1/memories", content=content).json()
    assert brought["turns"] == 1
    assert "Rex" in client.responses.create(model="rxt", input=DOG, previous_response_id=brought["id"]).output_text
    other = client.conversations.create()
    assert live.http.put(f"/v1/conversations/{other.id}/memory", content=content).status_code == 200
    assert "Rex" in client.responses.create(model="rxt", input=DOG, conversation=other.id).output_text
    live.http.post(f"/v1/conversations/{other.id}/reset").raise_for_status()
    assert "Rex" not in client.responses.create(model="rxt", input=DOG, conversation=other.id).output_text
    fork = live.http.post(f"/v1/conversations/{conversation.id}/fork", json={"response_id": said.id}).json()
    assert "Rex" in client.responses.create(model="rxt", input=DOG, conversation=fork["id"]).output_text
    change = live.http.get(f"/v1/responses/{said.id}/memory/change").json()
    assert (len(change["change"]), len(change["change"][0])) == (change["layers"], change["slots"]) == (3, 64)


def test_what_one_key_made_does_not_exist_for_another(serve: Callable[..., Live]) -> None:
    live = serve(keys=("mine", "yours"))
    mine, yours = live.client("mine"), live.client("yours")
    first = mine.responses.create(model="rxt", input=REX)
    conversation = mine.conversations.create()
    for attempt in (
        lambda: yours.responses.retrieve(first.id),
        lambda: yours.responses.delete(first.id),
        lambda: yours.responses.create(model="rxt", input="Hello!", previous_response_id=first.id),
        lambda: yours.responses.create(model="rxt", input="Hello!", conversation=conversation.id),
        lambda: yours.conversations.retrieve(conversation.id),
        lambda: yours.conversations.delete(conversation.id),
        lambda: yours.conversations.items.list(conversation.id),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    for path in (
        f"/v1/responses/{first.id}/memory",
        f"/v1/responses/{first.id}/memory/change",
        f"/v1/conversations/{conversation.id}/memory",
    ):
        assert live.raw("yours").get(path).status_code == 404
    assert live.raw("yours").get("/v1/conversations").json()["data"] == []
    assert len(live.raw("mine").get("/v1/conversations").json()["data"]) == 1
    for stranger in (live.client("other"), live.client("mine2")):
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
    assert live.http.get("/v1/models").status_code == 401
    assert live.http.get("/healthz").status_code == 200
