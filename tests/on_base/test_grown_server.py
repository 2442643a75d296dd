"""The server with a memory on a pre-trained model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

from live import Live
from tiny_grown import Grown

from rxt.generation.conversation import Conversation
from rxt.generation.json_answers import can_be_json


def test_the_server_says_what_a_conversation_says(one_grown: Grown, tmp_path: Path) -> None:
    live = Live(one_grown.model, one_grown.tokenizer, tmp_path / "db")
    try:
        client = live.client()
        chat = Conversation(one_grown.model, one_grown.tokenizer, system="Be kind.", max_new_tokens=8)
        first = client.responses.create(model="rxt", instructions="Be kind.", input="What is it?", max_output_tokens=8)
        second = client.responses.create(
            model="rxt", input="And room 17?", previous_response_id=first.id, max_output_tokens=8
        )
        assert [first.output_text, second.output_text] == [chat.ask("What is it?"), chat.ask("And room 17?")]
        streamed = client.responses.create(model="rxt", input="And room 17?", max_output_tokens=8, stream=True)
        pieces = [event.delta for event in streamed if event.type == "response.output_text.delta"]
        alone = Conversation(one_grown.model, one_grown.tokenizer, max_new_tokens=8)
        assert "".join(pieces) == alone.ask("And room 17?")
    finally:
        live.stop()


@pytest.mark.skipif(not can_be_json(), reason="pip install 'reactive-transformers[json]'")
def test_answers_in_json_and_stop_texts(one_grown: Grown, tmp_path: Path) -> None:
    live = Live(one_grown.model, one_grown.tokenizer, tmp_path / "db")
    try:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "And room 17?"}]
        asked = {"model": "rxt", "messages": messages, "max_tokens": 12}
        answered = live.http.post("/v1/chat/completions", json=asked | {"response_format": form})
        assert answered.status_code == 200, answered.text
        assert json.loads(answered.json()["choices"][0]["message"]["content"]).keys() == {"n"}
        text = live.http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"]
        stop = text[len(text) // 2 :][:2]
        cut = live.http.post("/v1/chat/completions", json=asked | {"stop": [stop]})
        assert cut.json()["choices"][0]["message"]["content"] == text[: text.index(stop)]
    finally:
        live.stop()
