"""Conversations with a model that says what it is told to."""

from __future__ import annotations

import re

import torch

from factories import scripted_model, tiny_tokenizer
from rxt.data.records import Interaction
from rxt.generation.conversation import Conversation
from rxt.generation.manner import Manner
from rxt.model.memory import Memory
from rxt.tools.tool import Tool, call_text

BETA = tiny_tokenizer("beta")
TOKENS = {f"<{name}>": token for name, token in vars(BETA.tokens).items() if token is not None}
ADD = Tool("add", "", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
CALL = call_text("add", {"a": 7})
LONG = 320


def ids(text: str) -> list[int]:
    """Token ids of texts and ``<part>`` markers."""
    found: list[int] = []
    for piece in re.split("(<[a-z_]+>)", text):
        found += [TOKENS[piece]] if piece in TOKENS else BETA.encode(piece)
    return found


class Scripted:
    """A conversation with a model that says what it is told to."""

    def __init__(self, max_length: int = LONG, manner: Manner | None = None, most: int | None = None) -> None:
        model, tokenizer, self.head = scripted_model(max_length)
        self.chat = Conversation(model, tokenizer, max_new_tokens=most, manner=manner or Manner())

    def says(self, text: str) -> Conversation:
        """The conversation, whose next reply this is."""
        self.head.follow(ids(text))
        return self.chat


def slots_after(memory: Memory, chat: Conversation, interaction: Interaction) -> torch.Tensor:
    """What the memory becomes with a whole interaction as the template encodes it for training."""
    encoded = chat.template.interaction(interaction)
    assert not encoded.cut
    with torch.no_grad():
        return chat.model.memorize(memory, torch.tensor([encoded.ids])).slots
