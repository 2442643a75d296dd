"""What clients may send. A parameter that is not here is refused by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Name = Annotated[str, StringConstraints(max_length=256)]
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Most = Annotated[int, Field(ge=1, le=1_000_000)]


class Strict(BaseModel):
    """Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """Text inside a message."""

    type: Literal["input_text", "output_text", "text"]
    text: Text
    annotations: list[object] | None = None
    logprobs: list[object] | None = None


class Message(Strict):
    """What somebody said."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Text | Annotated[list[TextPart], Field(max_length=1000)] | None = None
    type: Literal["message"] = "message"
    id: Name | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None
    name: Name | None = None
    phase: Name | None = None
    refusal: None = None
    annotations: list[object] | None = None
    response_id: Name | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if self.content is None:
            return ""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


Messages = Annotated[list[Message], Field(max_length=4000)]


class PlainText(Strict):
    """The one format of answers that there is."""

    type: Literal["text"] = "text"


class TextOptions(Strict):
    """How the answer is written."""

    format: PlainText | None = None
    verbosity: Literal["medium"] | None = None


class StreamOptions(Strict):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ConversationName(Strict):
    """A conversation as an object."""

    id: Name


class Common(Strict):
    """Accepted by both ways to ask. Options that change nothing here are accepted with the value that says so."""

    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    metadata: Metadata | None = None
    tools: Annotated[list[object], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    user: Name | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: bool | None = None


class ResponseRequest(Common):
    """``POST /v1/responses``."""

    input: Text | Annotated[list[Message], Field(min_length=1, max_length=4000)]
    previous_response_id: Name | None = None
    conversation: Name | ConversationName | None = None
    instructions: Text | None = None
    max_output_tokens: Most | None = None
    text: TextOptions | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    include: Annotated[list[object], Field(max_length=0)] | None = None


class ChatRequest(Common):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=4000)]
    max_tokens: Most | None = None
    max_completion_tokens: Most | None = None
    n: Literal[1] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    response_format: PlainText | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None


class ConversationRequest(Strict):
    """``POST /v1/conversations``."""

    items: Messages | None = None
    metadata: Metadata | None = None


class MetadataRequest(Strict):
    """``POST /v1/conversations/{id}``."""

    metadata: Metadata


class ItemsRequest(Strict):
    """``POST /v1/conversations/{id}/items``."""

    items: Annotated[list[Message], Field(min_length=1, max_length=4000)]


class ForkRequest(Strict):
    """``POST /v1/conversations/{id}/fork``."""

    response_id: Name | None = None
    metadata: Metadata | None = None
