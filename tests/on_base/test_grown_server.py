"""The server with a memory on a pre-trained model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

from live import Live
from tiny_grown import Grown

from rxt.generation.conversation import Conversation


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
