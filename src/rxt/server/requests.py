"""The requests that clients may send.

Options that change nothing about an answer of this model are taken, and named in a header of the reply
(``unused_options``). Those without which the answer would be another one than was asked for are refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from rxt.server.brought import OF_PARTS, UNUSED, Item, Items, Loose, Name, Strict, Text, unused_options
from rxt.server.tool_choice import known_choice, not_required

Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Most = Annotated[int, Field(ge=1, le=1_000_000)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
MEMORY_EVENT = "rxt.memory.updated"
LOGPROBS = "message.output_text.logprobs"


class Schema(Strict):
    """The form of an answer in JSON."""

    name: Name | None = None
    description: Text | None = None
    form: Annotated[JsonValue, Field(alias="schema")] = None
    strict: bool | None = None


class Format(Schema):
    """The form of an answer. ``/v1/responses`` has a schema here, ``/v1/chat/completions`` in ``json_schema``."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Schema | None = None

    @property
    def told(self) -> dict[str, JsonValue]:
        """As it was asked for."""
        return {"type": self.type} | self.model_dump(by_alias=True, exclude_unset=True)

    @property
    def wanted(self) -> str | None:
        """The JSON schema of the answer; None: it is text."""
        if self.type == "text":
            return None
        form = self.form if self.json_schema is None else self.json_schema.form
        return json.dumps(form if self.type == "json_schema" and isinstance(form, dict) else {"type": "object"})


class TextOptions(Strict):
    """How the answer is written."""

    format: Format | None = None
    verbosity: Annotated[Name | None, UNUSED] = None


class StreamOptions(Strict):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[bool | None, UNUSED] = None


class ConversationName(Strict):
    """A conversation as an object."""

    id: Name


ToolChoice = Annotated[JsonValue, AfterValidator(known_choice), OF_PARTS]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class Reasoning(Loose):
    """Whether the model thinks first, and for how long."""

    effort: Effort | None = None
    summary: Name | None = None
    """However long it is: the thinking itself is the summary."""


class MemoryOptions(Strict):
    """Who shares the memory."""

    scope: Literal["conversation", "user"]


class Common(Strict):
    """Accepted by both ways to ask."""

    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    tools: Annotated[list[JsonValue] | None, Field(max_length=1000), OF_PARTS] = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: Annotated[bool | None, UNUSED] = None
    memory: MemoryOptions | None = None
    user: Annotated[Name | None, UNUSED] = None
    """Whose memory it is, where that has the scope ``user``; else of no use."""
    safety_identifier: Annotated[Name | None, UNUSED] = None
    """The same, where there is no ``user``."""
    prompt_cache_key: Annotated[Name | None, UNUSED] = None
    prompt_cache_retention: Annotated[Name | None, UNUSED] = None
    service_tier: Annotated[Name | None, UNUSED] = None

    @property
    def asks(self) -> str:
        """The user's name; empty where there is none."""
        return self.user or self.safety_identifier or ""

    @property
    def scope(self) -> Literal["conversation", "user"] | None:
        """Of the memory, where the request says it."""
        return None if self.memory is None else self.memory.scope

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with how many tokens were read and said."""
        return self.stream_options is not None and self.stream_options.include_usage is True


def unused_of(request: Common, has_tools: bool, shared: bool = False) -> list[str]:
    """The options of a request that change nothing, by name; among the tools those that nobody has here. ``shared``:
    the memory is the user's."""
    used = ("user" if request.user else "safety_identifier") if shared else ""
    found = [name for name in unused_options(request, has_tools) if name != used]
    if has_tools:
        found += [f"tools.{index}" for index, tool in enumerate(request.tools or ()) if not is_function(tool)]
    if isinstance(request, ResponseRequest):
        found += [f"include.{name}" for name in request.include or () if name not in (MEMORY_EVENT, LOGPROBS)]
    return found


def is_function(tool: JsonValue) -> bool:
    """Whether a tool is run by the client; others are offered by habit, and nobody has them here."""
    return not isinstance(tool, dict) or tool.get("type", "function") == "function"


class ResponseRequest(Common):
    """``POST /v1/responses``."""

    input: Text | Annotated[list[Item], Field(min_length=1, max_length=4000)]
    previous_response_id: Name | None = None
    conversation: Name | ConversationName | None = None
    instructions: Text | None = None
    max_output_tokens: Most | None = None
    text: TextOptions | None = None
    background: Literal[False] | None = None
    include: Annotated[list[Name], Field(max_length=100)] | None = None
    reasoning: Annotated[Reasoning | None, OF_PARTS] = None
    max_tool_calls: Annotated[int | None, UNUSED] = None
    truncation: Annotated[Literal["disabled", "auto"] | None, UNUSED] = None

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens are told with each token; None: not even its own log-probability."""
        return self.top_logprobs or (0 if LOGPROBS in (self.include or ()) else None)

    @property
    def form(self) -> tuple[Format | None, str]:
        """Of the answer, and where it stands."""
        return (None if self.text is None else self.text.format), "text.format"

    @property
    def effort(self) -> Effort | None:
        """Of thinking."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def tells_memory(self) -> bool:
        """Whether a stream tells when the memory is updated."""
        return MEMORY_EVENT in (self.include or ())


class ChatRequest(Common):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Item], Field(min_length=1, max_length=4000)]
    max_tokens: Most | None = None
    max_completion_tokens: Most | None = None
    n: Literal[1] | None = None
    response_format: Format | None = None
    logprobs: bool | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    modalities: list[Literal["text"]] | None = None
    functions: Annotated[list[JsonValue] | None, UNUSED] = None
    function_call: Annotated[JsonValue, AfterValidator(not_required), UNUSED] = None
    reasoning_effort: Annotated[Effort | None, OF_PARTS] = None
    verbosity: Annotated[Name | None, UNUSED] = None
    prediction: Annotated[JsonValue, UNUSED] = None

    @model_validator(mode="after")
    def _alternatives_need_log_probabilities(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens are told with each token; None: not even its own log-probability."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def effort(self) -> Effort | None:
        """Of thinking."""
        return self.reasoning_effort

    @property
    def form(self) -> tuple[Format | None, str]:
        """Of the answer, and where it stands."""
        return self.response_format, "response_format"


class CompletionRequest(Common):
    """``POST /v1/completions``."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    max_tokens: Most | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    n: Literal[1] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    def as_chat(self) -> ChatRequest:
        """The same as a chat of one message, of which nothing is kept. This form of answer has no place for calls."""
        shared = self.model_dump(include=set(Common.model_fields) - {"top_logprobs", "tools"}, exclude_unset=True)
        asked = {"messages": [{"role": "user", "content": self.text}], "max_tokens": self.max_tokens, "store": False}
        likely = {} if self.logprobs is None else {"logprobs": True, "top_logprobs": self.logprobs}
        return ChatRequest.model_validate(shared | asked | likely)


class ConversationRequest(Strict):
    """``POST /v1/conversations``."""

    items: Items | None = None
    metadata: Metadata | None = None


class MetadataRequest(Strict):
    """``POST /v1/conversations/{id}``."""

    metadata: Metadata


class ItemsRequest(Strict):
    """``POST /v1/conversations/{id}/items``."""

    items: Annotated[list[Item], Field(min_length=1, max_length=4000)]


class ForkRequest(Strict):
    """``POST /v1/conversations/{id}/fork``."""

    response_id: Name | None = None
    metadata: Metadata | None = None
