"""Memories in fragments over HTTP: what is told of them, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Live

from factories import pooled_model, tiny_tokenizer
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
