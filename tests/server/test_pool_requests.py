"""Memories in fragments over HTTP: what is told of them, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from live import Live

from factories import FRAGMENTS, pooled_model, tiny_tokenizer
from rxt.engine.sessions import Rules
from rxt.generation.knowledge import knowledge_of
from rxt.model.pool import Pool

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz"]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    started = Live(pooled_model(max_length=64), tiny_tokenizer(), tmp_path / "db", keys=("mine", "yours"))
    yield started
    started.stop()


def test_a_conversation_over_a_pool(live: Live) -> None:
    client, http = live.client("mine"), live.raw("mine")
    conversation = client.conversations.create()
    said, *_ = [
        client.responses.create(model="rxt", input=query, conversation=conversation.id, max_output_tokens=8)
        for query in QUERIES[:3]
    ]
    stream = client.responses.create(
        model="rxt",
        input=QUERIES[3],
        conversation=conversation.id,
        max_output_tokens=8,
        stream=True,
        extra_body={"include": ["rxt.memory.updated"]},
    )
    *_, updated = (event.model_dump() for event in stream)
    assert updated["type"] == "rxt.memory.updated"
    change = http.get(f"/v1/responses/{updated['response_id']}/memory/change").json()
    assert change["fragments"] == {
        "count": 3,
        "slots": 2,
        "seen": updated["fragments_seen"],
        "written": updated["fragments_written"],
    }
    assert (len(change["change"]), len(change["change"][0])) == (change["layers"], change["slots"]) == (2, 6)
    content = http.get(f"/v1/conversations/{conversation.id}/memory").content
    assert len(Pool.from_bytes(content).fragments) == 3
    brought = http.post("/v1/memories", content=content).json()
    again = client.responses.create(model="rxt", input="hello", previous_response_id=brought["id"], max_output_tokens=8)
    same = client.responses.create(model="rxt", input="hello", conversation=conversation.id, max_output_tokens=8)
    assert again.output_text == same.output_text
    for path in (f"/v1/responses/{said.id}/memory", f"/v1/responses/{said.id}/memory/change"):
        assert live.raw("yours").get(path).status_code == 404


def test_what_one_key_tells_reaches_no_other_though_both_begin_with_the_same_knowledge(tmp_path: Path) -> None:
    model, tokenizer = pooled_model(replace(FRAGMENTS, most_writes=1), max_length=64), tiny_tokenizer()
    knowledge = knowledge_of(model, [[1, 3, *range(20 + number, 26 + number), 2] for number in range(0, 40, 8)])
    live = Live(model, tokenizer, tmp_path / "db", rules=Rules(knowledge=knowledge), keys=("mine", "yours"))
    try:
        answers, files = list[list[str]](), list[Pool]()
        for key, before in (("yours", 0), ("mine", 3), ("yours", 0)):
            client, previous, said = live.client(key), None, list[str]()
            for query in [*QUERIES[:before], None, *QUERIES]:
                if query is None:
                    previous, said = None, []  # another conversation of the same key
                    continue
                reply = client.responses.create(
                    model="rxt", input=query, previous_response_id=previous, max_output_tokens=8
                )
                previous = reply.id
                said.append(reply.output_text)
            answers.append(said)
            files.append(Pool.from_bytes(live.raw(key).get(f"/v1/responses/{previous}/memory").content))
        assert answers[0] == answers[1] == answers[2]
        for pool in files:
            assert pool.sealed == len(knowledge.fragments)
            for mine, known in zip(pool.fragments, knowledge.fragments, strict=False):
                assert torch.equal(mine.slots, known.slots)
    finally:
        live.stop()
