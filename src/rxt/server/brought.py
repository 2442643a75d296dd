"""What clients send, in parts that several requests share: texts, and the items of a history.

A parameter that no request has is refused by name; ``null`` stands for one that is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Name = Annotated[str, StringConstraints(max_length=256)]

Unread = Literal[
    "reasoning",
    "compaction",
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


@dataclass(frozen=True)
class Unused:
    """Marks a field that is taken and changes nothing."""

    always: bool = True
    """Otherwise only where the model neither thinks nor calls tools."""


UNUSED = Unused()
OF_PARTS = Unused(False)


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


def unused_options(request: BaseModel, has_tools: bool = False) -> list[str]:
    """The options of a request that change nothing, by name; ``has_tools``: the model thinks and calls tools."""
    found: list[str] = []
    for name in type(request).model_fields:
        value = getattr(request, name)
        if name not in request.model_fields_set:
            continue
        marks = [each for each in type(request).model_fields[name].metadata if isinstance(each, Unused)]
        if any(each.always or not has_tools for each in marks):
            found.append(name)
        elif isinstance(value, BaseModel):
            found += [f"{name}.{inner}" for inner in unused_options(value, has_tools)]
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Item) and item.is_unread(has_tools):
                    found.append(f"{name}.{index}")
                elif isinstance(item, BaseModel):
                    found += [f"{name}.{index}.{inner}" for inner in unused_options(item, has_tools)]
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


class CalledFunction(Loose):
    """Which function is called, and with what."""

    name: Name | None = None
    arguments: Text | None = None


class CalledTool(Loose):
    """A call in a message of chat completions."""

    id: Name | None = None
    type: Name | None = None
    function: CalledFunction | None = None


ItemType = (
    Unread | Literal["message", "item_reference", "function_call", "function_call_output", "custom_tool_call_output"]
)


class Item(Loose):
    """What somebody said, or one of the other things that a history of OpenAI's holds."""

    type: ItemType | None = None
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
    tool_calls: Annotated[list[CalledTool] | None, Field(max_length=100), OF_PARTS] = None
    arguments: Text | None = None
    """Of a call."""
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

    def is_unread(self, has_tools: bool) -> bool:
        """Whether it is one that nobody says, or that this model cannot have said."""
        return self.kind in get_args(Unread) or (self.kind == "function_call" and not has_tools)

    @property
    def text(self) -> str:
        """All of its text."""
        content = self.content if self.output is None else self.output
        if content is None:
            return self.refusal or ""
        return content if isinstance(content, str) else "".join(part.said or "" for part in content)


Items = Annotated[list[Item], Field(max_length=4000)]
