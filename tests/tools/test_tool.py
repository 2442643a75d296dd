"""Tools as they are declared and told, and calls as they are read: whatever a model writes becomes a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxt.errors import UserError
from rxt.tools.tool import JsonValue, Tool, ToolCall, call_text, read_call, tools_of, tools_text

ADD = Tool(
    "add",
    "Two numbers' sum – naïvely.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/number"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"number": {"type": "integer", "minimum": 0}},
    },
)
SELF = Tool("self", "", {"$ref": "#"})
AWAY = Tool("away", "", {"$ref": "https://example.org/schema.json"})


def test_a_call_of_the_schema_is_read_as_it_was_written() -> None:
    text = call_text("add", {"a": 1, "b": 2})
    assert text == '{"name": "add", "arguments": {"a": 1, "b": 2}}'
    assert read_call(text, [SELF, ADD], "call_3") == ToolCall("call_3", "add", {"a": 1, "b": 2}, text)
    assert read_call(f" {text}\n", [ADD], "call_3").error is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the call is not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("add(1, 2)", "the call is not JSON"),
        ('{"name": "add", "arguments": {"a": NaN}}', "the call is not JSON (NaN is no number of JSON)"),
        ('{"name": "add", "arguments": {"a": "\\ud800"}}', "the call is not JSON"),
        ("[" * 100_000, "the call is not JSON"),
        ('{"name": "add", "arguments": {"a": ' + "9" * 5000 + "}}", "the call is not JSON"),
        ("[]", 'the call is not {"name": …, "arguments": {…}}'),
        ('{"name": "add"}', 'the call is not {"name": …, "arguments": {…}}'),
        ('{"name": "add", "arguments": {}, "id": 1}', 'the call is not {"name": …, "arguments": {…}}'),
        ('{"name": "add", "arguments": "{}"}', 'the call is not {"name": a text, "arguments": an object}'),
        ('{"name": 7, "arguments": {}}', 'the call is not {"name": a text, "arguments": an object}'),
        ('{"name": "sub", "arguments": {}}', "there is no tool 'sub'; there is add, self, away"),
        ('{"name": "add", "arguments": {}}', "arguments: 'a' is a required property"),
        ('{"name": "add", "arguments": {"a": "1"}}', "arguments.a: '1' is not of type 'integer'"),
        ('{"name": "add", "arguments": {"a": 1, "b": -1}}', "arguments.b: -1 is less than the minimum of 0"),
        ('{"name": "add", "arguments": {"a": 1, "c": 1}}', "arguments: Additional properties are not allowed"),
        ('{"name": "self", "arguments": {}}', "the schema of self cannot be followed"),
        ('{"name": "away", "arguments": {}}', "the schema of away cannot be followed"),
    ],
)
def test_a_wrong_call_is_one_line(text: str, error: str) -> None:
    call = read_call(text, [ADD, SELF, AWAY], "call_1")
    assert call.error is not None
    assert call.error.startswith(error)
    assert "\n" not in call.error
    assert len(call.error) < 300
    assert call.text == text


def test_without_tools_no_call_is_right() -> None:
    assert read_call(call_text("add", {}), [], "call_1").error == "there is no tool 'add'; there is none"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, database=None)
@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"name": "add", "arguments": value})))
def test_anything_at_all_is_read(text: str) -> None:
    call = read_call(text, [ADD], "call_1")
    assert (call.error is None) == (
        call.name == "add"
        and "a" in call.arguments
        and all(key in ("a", "b") for key in call.arguments)
        and all(
            isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
            for value in call.arguments.values()
        )
        and json.loads(text)["arguments"].get("b", 0) >= 0
    )


def test_a_model_is_told_one_line_a_tool() -> None:
    title, blank, first, second = tools_text([ADD, Tool("clock")]).split("\n")
    assert (title, blank) == ("TOOLS", "")
    assert json.loads(first) == {"name": "add", "description": ADD.description, "parameters": ADD.parameters}
    assert json.loads(second)["parameters"] == {"type": "object", "properties": {}}
    assert "naïvely" in first


def test_the_ways_in_which_clients_write_a_tool() -> None:
    plain: dict[str, JsonValue] = {"name": "add", "description": ADD.description, "parameters": ADD.parameters}
    ways: list[Tool | Mapping[str, JsonValue]] = [
        ADD,
        plain,
        {"type": "function", **plain, "strict": None},
        {"type": "function", "function": plain},
    ]
    for way in ways:
        assert tools_of([way]) == (ADD,)
    assert tools_of([{"type": "function", **plain, "strict": True}]) == (replace(ADD, strict=True),)
    assert replace(ADD, strict=True).told == ADD.told
    assert tools_of([{"name": "clock"}]) == (Tool("clock"),)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["add"], 'a tool is {"name", "description", "parameters"}, found \'add\''),
        ([{}], "a tool needs a name"),
        ([{"name": ""}], "a tool's name is 1 to 64 letters"),
        ([{"name": "a b"}], "a tool's name is 1 to 64 letters"),
        ([{"name": "a\n"}], "a tool's name is 1 to 64 letters"),
        ([{"name": "a", "description": 7}], "tool a: its description is not a text, found 7"),
        ([{"name": "a", "parameters": "object"}], "tool a: parameters is not a JSON schema, found 'object'"),
        ([{"name": "a", "parameters": {"type": "thing"}}], "tool a: parameters is not a JSON schema"),
        ([{"name": "a", "parameters": {"enum": [float("nan")]}}], "tool a: parameters is not JSON"),
        ([{"name": "a", "parameters": {"const": object()}}], "tool a: parameters is not JSON"),
        ([{"name": "a", "schema": {}}], "a tool has no field 'schema'"),
        ([{"name": "a", "strict": "yes"}], "tool a: strict is true or false, found 'yes'"),
        ([{"type": "web_search"}], "only tools of type function are known, found 'web_search'"),
        ([{"name": "a"}, {"name": "a"}], "two tools are called a"),
        ({"name": "a"}, "tools are a list"),
        ("clock", "tools are a list"),
    ],
)
def test_a_tool_that_is_none(value: object, message: str) -> None:
    with pytest.raises(UserError) as raised:
        tools_of(value)  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
