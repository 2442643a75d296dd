"""What was said, in the shapes of OpenAI's items: messages, thinking, calls of tools and their results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rxt.server.likely import ToldToken
from rxt.store.records import Turn

ITEM = re.compile(r"(?:msg|rs|fc|fco)_([0-9a-f]{32})(?:_q)?")
"""Names of items: each has its turn's. A message to the model has ``_q``."""
Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(BaseModel):
    """A text of the model."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[str] = Field(default_factory=list)
    logprobs: list[ToldToken] = Field(default_factory=list)


class InputText(BaseModel):
    """A text for the model."""

    type: Literal["input_text"] = "input_text"
    text: str


class SummaryText(BaseModel):
    """What the model thought."""

    type: Literal["summary_text"] = "summary_text"
    text: str


class MessageItem(BaseModel):
    """What was said."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["user", "system", "developer", "assistant"]
    status: Status
    content: list[OutputText | InputText]
    response_id: str | None = None
    """The response that it belongs to: what to name in order to go on from here."""


class ReasoningItem(BaseModel):
    """What the model thought before it answered."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Status
    summary: list[SummaryText]
    response_id: str | None = None


class CallItem(BaseModel):
    """A tool call, which waits for its result."""

    id: str
    type: Literal["function_call"] = "function_call"
    call_id: str
    name: str
    arguments: str
    """In JSON; where the call cannot be read, all that the model wrote."""
    status: Status
    error: str | None = None
    """In one line, why this is no call of a tool that was offered: it is not to be run."""
    response_id: str | None = None


class ResultItem(BaseModel):
    """What a tool gave."""

    id: str
    type: Literal["function_call_output"] = "function_call_output"
    call_id: str
    output: str
    status: Status = "completed"
    response_id: str | None = None


AnyItem = Annotated[MessageItem | ReasoningItem | CallItem | ResultItem, Field(discriminator="type")]
Item = MessageItem | ReasoningItem | CallItem | ResultItem


def items_of(turn: Turn) -> list[Item]:
    """All items of a turn; a memory that was brought has none, and what a client brought may have one only."""
    return [*asked_items(turn), *said_items(turn)]


def asked_items(turn: Turn) -> list[Item]:
    """What was said to the model in a turn: one item, or none where a client brought an answer alone."""
    if turn.kind == "memory":
        return []
    if turn.role == "tool":
        return [ResultItem(id=_name(turn, "fco"), call_id=turn.result_of, output=turn.query, response_id=turn.id)]
    if turn.kind == "history" and not turn.query:
        return []
    content: list[OutputText | InputText] = [InputText(text=turn.query)]
    name = f"{_name(turn, 'msg')}_q"
    return [MessageItem(id=name, role=turn.role, status="completed", content=content, response_id=turn.id)]


def said_items(turn: Turn, logprobs: Sequence[ToldToken] = ()) -> list[Item]:
    """What the model said in a turn: thinking, answer, call, as far as they are there."""
    if turn.kind == "memory":
        return []
    found: list[Item] = []
    if turn.think:
        found.append(reasoning_item(turn, "completed"))
    if turn.answer or (turn.call is None and turn.kind == "turn"):
        cut = turn.finish_reason == "length" and turn.call is None
        found.append(answer_item(turn, "incomplete" if cut else "completed", logprobs))
    if turn.call is not None:
        found.append(call_item(turn, "incomplete" if turn.finish_reason == "length" else "completed"))
    return found


def answer_item(turn: Turn, status: Status, logprobs: Sequence[ToldToken] = ()) -> MessageItem:
    """The answer; while it is in progress there is no text of it."""
    content: list[OutputText | InputText] = []
    if status != "in_progress":
        content.append(OutputText(text=turn.answer, logprobs=list(logprobs)))
    return MessageItem(id=_name(turn, "msg"), role="assistant", status=status, content=content, response_id=turn.id)


def reasoning_item(turn: Turn, status: Status) -> ReasoningItem:
    """The thinking; while it is in progress there is no text of it."""
    summary = [] if status == "in_progress" else [SummaryText(text=turn.think or "")]
    return ReasoningItem(id=_name(turn, "rs"), status=status, summary=summary, response_id=turn.id)


def call_item(turn: Turn, status: Status) -> CallItem:
    """The call; while it is in progress there are no arguments of it."""
    call = turn.call
    assert call is not None
    return CallItem(
        id=_name(turn, "fc"),
        call_id=call.id,
        name=call.name,
        arguments="" if status == "in_progress" else call.arguments,
        status=status,
        error=call.error,
        response_id=turn.id,
    )


def _name(turn: Turn, kind: Literal["msg", "rs", "fc", "fco"]) -> str:
    return f"{kind}_{turn.name or turn.id.removeprefix('resp_')}"
