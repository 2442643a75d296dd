"""A tool, how a model is told of it, and a call that it makes.

Tools are told as lines of JSON under a title; a call is JSON too: ``{"name": …, "arguments": {…}}``. A model may write
anything: a call that is wrong is a value with an ``error``, never an exception. What a caller declares wrongly is a
``UserError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from rxt.errors import UserError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""What JSON can say."""

TITLE = "TOOLS"
"""Opens the text that tells a model of its tools."""
TOOLS_EXTRA = "pip install 'reactive-transformers[tools]'"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
OF_TOOL = frozenset({"type", "name", "description", "parameters", "strict"})
SHOWN = 200
"""Characters of what is wrong in a call."""


@dataclass(frozen=True)
class Tool:
    """A tool that a model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema (draft 2020-12) of the arguments, which are an object."""
    strict: bool = False
    """Its calls are held to its schema while they are decoded (the extra ``json``). The model is not told."""

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: the name is not 1 to 64 letters, digits, _ and -, or the schema is none; jsonschema is missing.
        """
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UserError(f"a tool's name is 1 to 64 letters, digits, _ and -, found {self.name!r:.80}")
        if not isinstance(self.description, str):
            raise UserError(f"tool {self.name}: its description is not a text, found {self.description!r:.80}")
        _ = self._validator

    @classmethod
    def of(cls, value: Tool | Mapping[str, JsonValue]) -> Tool:
        """A tool as OpenAI's interfaces write it: ``{"name", "description", "parameters", "strict"}``, or the same
        under ``"function"``.

        Raises:
            UserError: it is none.
        """
        if isinstance(value, Tool):
            return value
        inner = value.get("function", value) if isinstance(value, Mapping) else None
        if not isinstance(inner, Mapping):
            raise UserError(f'a tool is {{"name", "description", "parameters"}}, found {value!r:.80}')
        if value.get("type", "function") != "function":
            raise UserError(f"only tools of type function are known, found {value['type']!r:.80}")
        if unknown := sorted(set(inner) - OF_TOOL):
            raise UserError(f"a tool has no field {unknown[0]!r:.80}; its fields are name, description and parameters")
        name, description, parameters = inner.get("name"), inner.get("description"), inner.get("parameters")
        strict = inner.get("strict") or False
        if not isinstance(name, str):
            raise UserError("a tool needs a name")
        if not isinstance(description, str | None):
            raise UserError(f"tool {name:.80}: its description is not a text, found {description!r:.80}")
        if not isinstance(strict, bool):
            raise UserError(f"tool {name:.80}: strict is true or false, found {strict!r:.80}")
        if parameters is None:
            return cls(name, description or "", strict=strict)
        if not isinstance(parameters, Mapping):
            raise UserError(f"tool {name:.80}: parameters is not a JSON schema, found {parameters!r:.80}")
        return cls(name, description or "", parameters, strict)

    @property
    def told(self) -> str:
        """The line of JSON that tells a model of it."""
        return as_json({"name": self.name, "description": self.description, "parameters": self.parameters})

    def problem(self, arguments: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with the arguments of a call, in one line; None if nothing is."""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            found = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError) as error:
            return f"the schema of {self.name} cannot be followed ({_line(error)})"
        return None if found is None else _line(f"{found.json_path.replace('$', 'arguments', 1)}: {found.message}")

    @cached_property
    def _validator(self) -> Validator:
        try:
            from jsonschema import Draft202012Validator
            from jsonschema.exceptions import SchemaError
            from referencing import Registry
        except ImportError:
            raise UserError(f"tools need jsonschema: {TOOLS_EXTRA}") from None
        try:
            schema = json.loads(as_json(self.parameters))
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            self._refuse(f"parameters is not a JSON schema ({_line(error.message)})")
        except (TypeError, ValueError, RecursionError) as error:
            self._refuse(f"parameters is not JSON ({_line(error)})")
        # An empty registry: a schema refers to nothing but itself, and nothing is ever fetched.
        return Draft202012Validator(schema, registry=Registry())

    def _refuse(self, problem: str) -> NoReturn:
        raise UserError(f"tool {self.name}: {problem}") from None


@dataclass(frozen=True)
class ToolCall:
    """One call as the model wrote it. With an ``error`` it is not to be run; what went wrong may be its result."""

    id: str
    """By which its result is given back."""
    name: str
    """Empty where the call has none."""
    arguments: Mapping[str, JsonValue]
    """As the tool's schema says; empty where they cannot be read."""
    text: str
    """All that the model wrote."""
    error: str | None = None
    """In one line, why this is no call of a tool that was offered."""


def tools_of(values: Iterable[Tool | Mapping[str, JsonValue]]) -> tuple[Tool, ...]:
    """Tools as a caller gives them.

    Raises:
        UserError: one is none, or two have one name.
    """
    if isinstance(values, str | Mapping):
        raise UserError(f"tools are a list, found {values!r:.80}")
    tools = tuple(Tool.of(value) for value in values)
    names = [tool.name for tool in tools]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise UserError(f"two tools are called {twice}")
    return tools


def tools_text(tools: Sequence[Tool]) -> str:
    """What a model is told of its tools, in a system prompt or in a turn's internal part."""
    return "\n".join([f"{TITLE}\n", *(tool.told for tool in tools)])


def call_text(name: str, arguments: Mapping[str, JsonValue]) -> str:
    """A call as a model is to write it."""
    return as_json({"name": name, "arguments": arguments})


def read_call(text: str, tools: Sequence[Tool], call_id: str) -> ToolCall:
    """What a model wrote as a call, checked against the tools that it may call."""

    def wrong(problem: str, name: str = "", arguments: Mapping[str, JsonValue] | None = None) -> ToolCall:
        return ToolCall(call_id, name, arguments or {}, text, problem)

    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        as_json(value).encode()  # half a character may be escaped in JSON
    except (ValueError, RecursionError) as error:
        return wrong(f"the call is not JSON ({_line(error)})")
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return wrong('the call is not {"name": …, "arguments": {…}}')
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return wrong('the call is not {"name": a text, "arguments": an object}')
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        offered = ", ".join(tool.name for tool in tools) or "none"
        return wrong(_line(f"there is no tool {name!r:.80}; there is {offered}"), name, arguments)
    return ToolCall(call_id, name, arguments, text, tool.problem(arguments))


def as_json(value: JsonValue) -> str:
    """Raises ``TypeError`` or ``ValueError`` for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _line(problem: object) -> str:
    line = " ".join(str(problem).split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
