"""What the server answers, in the shapes that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from rxt.server.items import AnyItem, said_items
from rxt.server.likely import ToldToken
from rxt.store.records import Dialogue, Turn

Form = dict[str, JsonValue]
TEXT: Form = {"type": "text"}


class Settings(BaseModel):
    """What is kept with a turn, to be shown again."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_output_tokens: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    store: bool = True
    form: Form = Field(default_factory=TEXT.copy)
    """Of the answer."""
    effort: str | None = None
    """Of thinking, as it was asked for."""
    tools: list[JsonValue] = Field(default_factory=list)
    """That were offered, as they were written."""
    tool_choice: JsonValue = "none"


class ErrorBody(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """Every error."""

    error: ErrorBody


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


class ReasoningSettings(BaseModel):
    """How the model thought."""

    effort: str
    summary: Literal["detailed"] = "detailed"
    """It is the thinking itself."""


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
    output: list[AnyItem]
    parallel_tool_calls: bool = False
    previous_response_id: str | None = None
    conversation: ConversationRef | None = None
    reasoning: ReasoningSettings | None = None
    store: bool = True
    temperature: float
    text: TextSettings = Field(default_factory=TextSettings)
    tool_choice: JsonValue = "none"
    tools: list[JsonValue] = Field(default_factory=list)
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
    object: Literal["response.deleted", "conversation.deleted", "rxt.user_memory.deleted"]
    deleted: bool = True


class ItemList(BaseModel):
    """Some of what was said."""

    object: Literal["list"] = "list"
    data: list[AnyItem]
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


class UserReply(BaseModel):
    """A user who has a memory."""

    id: str
    """The user's name."""
    object: Literal["rxt.user"] = "rxt.user"
    created_at: int
    updated_at: int


class UserMemoryList(BaseModel):
    """All of them under an API key."""

    object: Literal["list"] = "list"
    data: list[UserReply]
    possible: bool
    """Whether this model keeps fragments, which users can share."""


class UserMemoryReply(BaseModel):
    """What all conversations of a user share."""

    id: str
    """The user's name."""
    object: Literal["rxt.user_memory"] = "rxt.user_memory"
    created_at: int
    updated_at: int
    turns: int
    """That were told to it."""
    fragments: int
    """With those that everybody knows."""
    fingerprint: str


class FragmentsReply(BaseModel):
    """What a turn saw and wrote of a memory in fragments, which count from 0."""

    count: int
    slots: int
    """Of a fragment."""
    seen: list[int]
    """By the answer, the one most like the query first."""
    written: list[int]
    """The last slots are theirs, in this order; one that was not seen is new."""


class ChangeReply(BaseModel):
    """How much each slot of the memory changed in a turn: the mean absolute change of its numbers. Of a memory in
    fragments, the slots that the turn was written into."""

    object: Literal["rxt.memory.change"] = "rxt.memory.change"
    response_id: str
    turn: int
    layers: int
    slots: int
    change: list[list[float]]
    fragments: FragmentsReply | None = None
    """Where the memory has any."""


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
    usage = Usage(
        input_tokens=read,
        output_tokens=said,
        output_tokens_details=OutputDetails(reasoning_tokens=turn.thinking_tokens),
        total_tokens=read + said,
    )
    return ResponseReply(
        id=turn.id,
        created_at=int(turn.created),
        status=status or ("incomplete" if cut else "completed"),
        error=failure,
        incomplete_details=Details(reason="max_output_tokens") if cut and status is None else None,
        instructions=turn.instructions,
        max_output_tokens=kept.max_output_tokens,
        model=model,
        output=said_items(turn, logprobs) if status is None else [],
        previous_response_id=turn.parent,
        conversation=None if turn.conversation is None else ConversationRef(id=turn.conversation),
        reasoning=None if kept.effort is None else ReasoningSettings(effort=kept.effort),
        store=kept.store,
        temperature=kept.temperature,
        text=TextSettings(format=kept.form),
        tool_choice=kept.tool_choice,
        tools=kept.tools,
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
