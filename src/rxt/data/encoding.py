"""Whole conversations as tokens."""

from __future__ import annotations

from dataclasses import replace

from rxt.data.markup import Encoded
from rxt.data.pieces import opening
from rxt.data.records import Conversation
from rxt.data.template import Template


def encode_conversation(conversation: Conversation, template: Template) -> list[Encoded]:
    """The interactions as tokens; a system prompt comes first, as a chat memorizes it, and has no targets, nor have the
    interactions not to learn from."""
    system = [opening(template, conversation.system)] if conversation.system else []
    turns = [template.interaction(interaction) for interaction in conversation.interactions]
    for index in conversation.prompted:
        turns[index] = without_first_marker(turns[index], template)
    return system + [
        without_targets(turn) if index in conversation.unlearned else turn for index, turn in enumerate(turns)
    ]


def without_targets(encoded: Encoded) -> Encoded:
    """The same tokens, none of them to be learned."""
    return replace(encoded, loss=[False] * len(encoded.ids))


def without_first_marker(encoded: Encoded, template: Template) -> Encoded:
    """The same interaction where the prompt has the model's first marker, [T] or [A]: that is nothing to learn then. In
    templates whose prompts always end with [A], nothing changes."""
    if template.markup.told:
        return encoded
    loss = list(encoded.loss)
    loss[loss.index(True)] = False
    return replace(encoded, loss=loss)
