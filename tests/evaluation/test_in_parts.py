"""Replies in several parts out of a batch of memories, each as it would be alone."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from factories import chat_model
from rxt.data.template import Template
from rxt.evaluation.in_parts import ReactiveInParts
from rxt.generation.manner import Manner
from rxt.generation.turn import OpenTurn
from rxt.tools.choice import NONE, ToolChoice
from rxt.tools.tool import Tool, read_call
from scripted_chat import ADD, BETA

REQUIRED = ToolChoice("must")
SAY = Tool("say", "", {"type": "object", "properties": {"x": {"enum": ["yes", "no"]}}, "required": ["x"]})
MANNERS = [
    Manner(tools=(ADD,), tool_choice=REQUIRED),
    Manner("thinking", 6, tool_choice=REQUIRED),
    Manner(),
    Manner("auto", 4, strict_calls=True),
    Manner("auto", 5, (SAY,), tool_choice=REQUIRED),
    Manner("auto", tool_choice=NONE),
]


@pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is missing: pip install '.[json]'")
@pytest.mark.parametrize("tools", [(ADD, SAY), (SAY,)])
def test_strict_calls_of_a_batch_are_those_of_single_turns(tools: tuple[Tool, ...]) -> None:
    """Each under its own grammar, with others beside it that end sooner, think, or are free."""
    model = chat_model(max_length=480, tokens=BETA.tokens)
    template = Template.of_model(model.config, BETA)
    subject, memory = ReactiveInParts(model, template), model.init_memory(len(MANNERS), seed=3)

    def opened(manner: Manner) -> OpenTurn:
        return OpenTurn(template, "hello there", 90, manner=manner, standing=tools)

    together = [opened(manner) for manner in MANNERS]
    subject.reply(together, memory)
    for row, (manner, turn) in enumerate(zip(MANNERS, together, strict=True)):
        alone = opened(manner)
        subject.reply([alone], memory.select(row))
        assert (alone.said, alone.finish_reason) == (turn.said, turn.finish_reason)
        if manner.tool_choice == REQUIRED:
            assert turn.reply.tool_call is not None
            assert read_call(turn.reply.tool_call, turn.offered, "call").error is None
            assert (turn.finish_reason, turn.reply.answer) == ("stop", "")
    free = [opened(replace(manner, tool_choice=NONE)) for manner in MANNERS]
    subject.reply(free, memory)
    assert all(turn.reply.tool_call is None for turn in free)
    assert torch.equal(memory.slots, model.init_memory(len(MANNERS), seed=3).slots)
