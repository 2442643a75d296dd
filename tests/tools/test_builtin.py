"""The built-in tools: right results, and an error as a result where there is none."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxt.errors import UserError
from rxt.tools.builtin import Calculator, Clock, Notebook, ToolBox
from rxt.tools.calculator import calculate
from rxt.tools.tool import call_text, read_call


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 4 - 2", "1"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("2 ^ -1", "0.5"),
        ("34 × 12 ÷ 2 − 4", "200"),
        ("12 / 4", "3"),
        ("1 / 3", "0.333333333333"),
        ("0.1 + 0.2", "0.3"),
        ("7 // 2 + 7 % 4", "6"),
        ("2 ** 100", str(2**100)),
        ("1.5e3 + .5", "1500.5"),
        ("--1", "1"),
        ("1 ** 99999999999999999999", "1"),
    ],
)
def test_arithmetic(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("", "the expression ends where a number is expected"),
        ("1 +", "the expression ends where a number is expected"),
        ("(1", "a parenthesis is not closed"),
        ("1)", "')' was not expected there"),
        ("2 3", "'3' was not expected there"),
        ("* 2", "'*' stands where a number is expected"),
        ("__import__('os')", "'_' has no place in an expression"),
        ("1 / 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("9 ** 9 ** 9", "the value is too large"),
        ("9.0 ** 9 ** 9", "the value is too large"),
        ("1e999", "the value is too large"),
        ("(-8) ** (1 / 3)", "a power of a negative number"),
        ("1" * 201, "an expression has at most 200 characters, found 201"),
        ("(" * 199 + "1", ""),
    ],
)
def test_what_cannot_be_computed(expression: str, error: str) -> None:
    with pytest.raises(UserError) as raised:
        calculate(expression)
    assert str(raised.value).startswith(error)


NUMBERS = st.integers(0, 999).map(str)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, database=None)
@given(EXPRESSIONS, st.integers(1, 50))
def test_whole_numbers_are_exact(expression: str, divisor: int) -> None:
    value = eval(expression)
    assert calculate(expression) == str(value)
    quotient = Fraction(value, divisor)
    assert float(calculate(f"{expression} / {divisor}")) == pytest.approx(float(quotient), rel=1e-11)


def test_the_clock_tells_date_time_and_day() -> None:
    assert Clock(lambda: datetime(2026, 11, 26, 9, 5)).run({}) == "2026-11-26 09:05, Thursday"


def test_the_notebook_gives_back_what_was_put_down() -> None:
    box = ToolBox([Notebook(), Calculator()])

    def run(name: str, **arguments: str) -> str:
        return box.run(read_call(call_text(name, arguments), box.tools, "call_1"))

    assert run("notebook", action="get", key="age") == "error: there is no note 'age'"
    assert run("notebook", action="put", key="age", value="37") == "noted"
    assert run("notebook", action="get", key="age") == "37"
    assert run("notebook", action="put", key="age") == "error: put needs a value"
    assert run("notebook", action="get", key="age") == "37"
    assert run("notebook", action="burn", key="age").startswith("error: arguments.action: 'burn' is not one of")
    assert run("calculator", expression="6 * 7") == "42"
    assert run("calculator", expression="6 / 0") == "error: division by zero"
    assert run("clock").startswith("error: there is no tool 'clock'; there is notebook, calculator")


def test_tools_by_their_names() -> None:
    box = ToolBox.of_names("clock, notebook,calculator")
    assert [tool.name for tool in box.tools] == ["clock", "notebook", "calculator"]
    for names, message in [("clok", "no built-in tool 'clok'; there are"), ("clock,clock", "twice"), (",", "no tool")]:
        with pytest.raises(UserError, match=message):
            ToolBox.of_names(names)
