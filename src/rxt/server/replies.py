"""What the server answers, in the shapes that OpenAI's clients read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from rxt.server.likely import ToldToken
from rxt.store.records import Dialogue, Role, Turn

Form = dict[str, JsonValue]
TEXT: Form = {"type": "text"}
ITEM = re.compile(r"msg_([0-9a-f]{32})(_q)?")
"""Names of messages: a turn's answer, and with ``_q`` what was said to the model."""


class Settings(BaseModel):
    """What is kept with a turn, to be shown again."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_output_tokens: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    store: bool = True
    form: Form = Field(default_factory=TEXT.copy)
    """Of the answer."""


class ErrorBody(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """Every error."""

    error: ErrorBody


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


class MessageItem(BaseModel):
    """What was said."""

    id: str
    type: Literal["message"] = "message"
    role: Role | Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText | InputText]
    response_id: str | None = None
    """The response that it belongs to: what to name in order to go on from here."""


class Details(BaseModel):
    """Why an answer is not complete."""

    reason: Literal["max_output_tokens"]


class Failure(BaseModel):
    """Why there is no answer."""

    code: str
    message: str


class InputDetails(BaseModel):
    """Nothing is read twice, so nothing comes from a cache."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """Of which kinds the tokens are."""

    reasoning_tokens: int = 0


class Usage(BaseModel):
    """Tokens that were read and said."""

    input_tokens: int
    input_tokens_details: InputDetails = Field(default_factory=InputDetails)
    output_tokens: int
    output_tokens_details: OutputDetails = Field(default_factory=OutputDetails)
    total_tokens: int


class TextSettings(BaseModel):
    """How the answer is written."""

    format: Form = Field(default_factory=TEXT.copy)
    """As it was asked for."""


class ConversationRef(BaseModel):
    """The conversation of a response."""

    id: str


class ResponseReply(BaseModel):
    """One turn."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: bool = False
    error: Failure | None = None
    incomplete_details: Details | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    model: str
    output: list[MessageItem]
    parallel_tool_calls: bool = False
    previous_response_id: str | None = None
    conversation: ConversationRef | None = None
    store: bool = True
    temperature: float
    text: TextSettings = Field(default_factory=TextSettings)
    tool_choice: Literal["none"] = "none"
    tools: list[str] = Field(default_factory=list)
    top_p: float
    truncation: Literal["disabled"] = "disabled"
    usage: Usage | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class ConversationReply(BaseModel):
    """A conversation."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]
    updated_at: int
    head_response_id: str | None = None
    """The newest turn: what to name in order to fork."""


class Deleted(BaseModel):
    """Something is gone."""

    id: str
    object: Literal["response.deleted", "conversation.deleted"]
    deleted: bool = True


class ItemList(BaseModel):
    """Some of what was said."""

    object: Literal["list"] = "list"
    data: list[MessageItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ConversationList(BaseModel):
    """Conversations, the one that was used last first."""

    object: Literal["list"] = "list"
    data: list[ConversationReply]
    first_id: str | None
    last_id: str | None
    has_more: bool


class MemoryReply(BaseModel):
    """A memory that was brought: its ``id`` is a response to go on from."""

    id: str
    object: Literal["rxt.memory"] = "rxt.memory"
    turns: int
    fingerprint: str


class ChangeReply(BaseModel):
    """How much each slot of the memory changed in a turn: the mean absolute change of its numbers."""

    object: Literal["rxt.memory.change"] = "rxt.memory.change"
    response_id: str
    turn: int
    layers: int
    slots: int
    change: list[list[float]]


class ModelReply(BaseModel):
    """The model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "rxt"
    fingerprint: str


class ModelList(BaseModel):
    """There is one."""

    object: Literal["list"] = "list"
    data: list[ModelReply]


class Health(BaseModel):
    """Whether the server is there, or ready."""

    status: Literal["ok", "starting", "stopping", "failed", "store_failed"]


def items_of(turn: Turn) -> list[MessageItem]:
    """The messages of a turn; a memory that was brought has none, and what a client brought may have one only."""
    if turn.kind == "memory":
        return []
    asked = MessageItem(
        id=f"{message_id(turn)}_q",
        role=turn.role,
        status="completed",
        content=[InputText(text=turn.query)],
        response_id=turn.id,
    )
    items = [asked, answer_item(turn, "completed" if turn.finish_reason == "stop" else "incomplete")]
    if turn.kind == "turn":
        return items
    return [item for item, text in zip(items, (turn.query, turn.answer), strict=True) if text]


def answer_item(
    turn: Turn, status: Literal["in_progress", "completed", "incomplete"], logprobs: Sequence[ToldToken] = ()
) -> MessageItem:
    """The answer; while it is in progress there is no text of it."""
    content: list[OutputText | InputText] = []
    if status != "in_progress":
        content.append(OutputText(text=turn.answer, logprobs=list(logprobs)))
    return MessageItem(id=message_id(turn), role="assistant", status=status, content=content, response_id=turn.id)


def message_id(turn: Turn) -> str:
    """Of the answer."""
    return f"msg_{turn.name or turn.id.removeprefix('resp_')}"


def response_of(
    turn: Turn,
    model: str,
    status: Literal["in_progress", "failed"] | None = None,
    failure: Failure | None = None,
    logprobs: Sequence[ToldToken] = (),
) -> ResponseReply:
    """A turn as a response; ``status`` where it is not finished."""
    kept = Settings.model_validate_json(turn.settings)
    cut = turn.finish_reason == "length"
    read, said = tokens_read(turn), len(turn.said)
    usage = Usage(input_tokens=read, output_tokens=said, total_tokens=read + said)
    return ResponseReply(
        id=turn.id,
        created_at=int(turn.created),
        status=status or ("incomplete" if cut else "completed"),
        error=failure,
        incomplete_details=Details(reason="max_output_tokens") if cut and status is None else None,
        instructions=turn.instructions,
        max_output_tokens=kept.max_output_tokens,
        model=model,
        output=[answer_item(turn, "incomplete" if cut else "completed", logprobs)]
        if status is None and turn.kind != "memory"
        else [],
        previous_response_id=turn.parent,
        conversation=None if turn.conversation is None else ConversationRef(id=turn.conversation),
        store=kept.store,
        temperature=kept.temperature,
        text=TextSettings(format=kept.form),
        top_p=kept.top_p,
        usage=usage if status is None else None,
        metadata=kept.metadata,
    )


def tokens_read(turn: Turn) -> int:
    """Of the query, all of its parts."""
    return len(turn.prompt) + sum(map(len, turn.lead))


def conversation_of(dialogue: Dialogue) -> ConversationReply:
    """A conversation as clients see it."""
    return ConversationReply(
        id=dialogue.id,
        created_at=int(dialogue.created),
        updated_at=int(dialogue.updated),
        metadata=dialogue.metadata,
        head_response_id=dialogue.head,
    )
