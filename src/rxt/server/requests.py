"""What clients may send. A parameter that is not here is refused by name; ``null`` stands for one that is absent.

Options that change nothing about an answer of this model are taken, and named in a header of the reply
(``unused_options``). Those without which the answer would be another one than was asked for are refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Name = Annotated[str, StringConstraints(max_length=256)]
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


Unread = Literal[
    "reasoning",
    "compaction",
    "function_call",
    "custom_tool_call",
    "web_search_call",
    "file_search_call",
    "computer_call",
    "code_interpreter_call",
    "image_generation_call",
    "local_shell_call",
    "mcp_call",
    "mcp_list_tools",
]
"""Items of a history that nobody says."""


class Unused:
    """Marks a field that is taken and changes nothing."""


UNUSED = Unused()


class Strict(BaseModel):
    """Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value


class Loose(Strict):
    """Unknown fields are what other servers note with a message; nobody reads them."""

    model_config = ConfigDict(extra="allow")


def unused_options(request: BaseModel) -> list[str]:
    """The options of a request that change nothing, by name."""
    found: list[str] = []
    for name in type(request).model_fields:
        value = getattr(request, name)
        if name not in request.model_fields_set:
            continue
        if UNUSED in type(request).model_fields[name].metadata:
            found.append(name)
        elif isinstance(value, BaseModel):
            found += [f"{name}.{inner}" for inner in unused_options(value)]
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Item) and item.is_unread:
                    found.append(f"{name}.{index}")
                elif isinstance(item, BaseModel):
                    found += [f"{name}.{index}.{inner}" for inner in unused_options(item)]
    return [*found, *(request.model_extra or {})]


class Part(Loose):
    """Text inside a message."""

    type: Literal["input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"]
    text: Text | None = None
    refusal: Text | None = None
    annotations: JsonValue = None
    logprobs: JsonValue = None

    @model_validator(mode="after")
    def _has_text(self) -> Part:
        if self.said is None:
            raise ValueError(f"a part of type {self.type} has a text")
        return self

    @property
    def said(self) -> str | None:
        """Its text, whatever it is called."""
        return self.refusal if self.type == "refusal" and self.text is None else self.text


Content = Text | Annotated[list[Part], Field(max_length=1000)]


class Item(Loose):
    """What somebody said, or one of the other things that a history of OpenAI's holds."""

    type: Unread | Literal["message", "item_reference", "function_call_output", "custom_tool_call_output"] | None = None
    role: Literal["user", "assistant", "system", "developer", "tool", "function"] | None = None
    content: Content | None = None
    output: Content | None = None
    """Of a tool."""
    id: Name | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None
    refusal: Text | None = None
    response_id: Name | None = None
    call_id: Name | None = None
    tool_call_id: Name | None = None
    name: Name | None = None
    phase: Name | None = None

    @model_validator(mode="after")
    def _complete(self) -> Item:
        if self.kind == "message" and self.role is None:
            raise ValueError("a message has a role")
        if self.kind == "item_reference" and self.id is None:
            raise ValueError("a reference has an id")
        return self

    @property
    def kind(self) -> str:
        """Its type; a reference may leave it out."""
        return self.type or ("item_reference" if self.role is None and self.id is not None else "message")

    @property
    def is_unread(self) -> bool:
        """Whether it is one that nobody says."""
        return self.kind in get_args(Unread)

    @property
    def text(self) -> str:
        """All of its text."""
        content = self.content if self.output is None else self.output
        if content is None:
            return self.refusal or ""
        return content if isinstance(content, str) else "".join(part.said or "" for part in content)


Items = Annotated[list[Item], Field(max_length=4000)]


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


def not_required(choice: JsonValue) -> JsonValue:
    """Refuse a choice of tools that only a call can fulfil."""
    mode = choice.get("mode") if isinstance(choice, dict) and choice.get("type") == "allowed_tools" else choice
    if mode not in ("none", "auto"):
        raise ValueError("this model calls no tools, so none can be required; 'auto' and 'none' are taken")
    return choice


ToolChoice = Annotated[JsonValue, AfterValidator(not_required), UNUSED]


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
    tools: Annotated[list[JsonValue] | None, UNUSED] = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: Annotated[bool | None, UNUSED] = None
    user: Annotated[Name | None, UNUSED] = None
    safety_identifier: Annotated[Name | None, UNUSED] = None
    prompt_cache_key: Annotated[Name | None, UNUSED] = None
    prompt_cache_retention: Annotated[Name | None, UNUSED] = None
    service_tier: Annotated[Name | None, UNUSED] = None

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with how many tokens were read and said."""
        return self.stream_options is not None and self.stream_options.include_usage is True


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
    reasoning: Annotated[JsonValue, UNUSED] = None
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
    function_call: ToolChoice = None
    reasoning_effort: Annotated[Name | None, UNUSED] = None
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
        """The same as a chat of one message, of which nothing is kept."""
        shared = self.model_dump(include=set(Common.model_fields) - {"top_logprobs"}, exclude_unset=True)
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
