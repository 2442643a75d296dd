"""Arithmetic in a text, read and computed without running anything of it.

``sum := product (("+" | "-") product)*``, ``product := signed (("*" | "/" | "//" | "%") signed)*``,
``signed := ("-" | "+") signed | power``, ``power := atom ("**" signed)?``, ``atom := number | "(" sum ")"``
"""

from __future__ import annotations

import math
import re

from rxt.errors import UserError

Number = int | float

TOKEN = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+|\*\*|//|[-+*/%^()×÷−·])")
SAME = {"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"}
LONGEST = 200
"""Characters of an expression."""
MOST_BITS = 1024
"""Of a whole number: more make no sense in a conversation, and a power could take all the memory there is."""
DIGITS = 12
"""Of a result that is no whole number."""


def calculate(expression: str) -> str:
    """The value of an expression of + - * / // % ** and parentheses; whole numbers are exact.

    Raises:
        UserError: it is none, it divides by zero, or it is too long or its value too large.
    """
    if len(expression) > LONGEST:
        raise UserError(f"an expression has at most {LONGEST} characters, found {len(expression)}")
    reader = _Reader(_tokens(expression))
    try:
        value = reader.sum()
        reader.end()
    except ZeroDivisionError:
        raise UserError("division by zero") from None
    except OverflowError:
        raise UserError("the value is too large") from None
    except RecursionError:
        raise UserError("the expression is nested too deeply") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError("the value is too large")
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**DIGITS:
        value = int(value)
    return str(value) if isinstance(value, int) else f"{value:.{DIGITS}g}"


def _tokens(expression: str) -> list[str]:
    tokens, place = list[str](), 0
    text = expression.rstrip()
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            raise UserError(f"{text[place:].lstrip()[0]!r} has no place in an expression of numbers and + - * / ** ( )")
        tokens.append(SAME.get(found[1], found[1]))
        place = found.end()
    return tokens


class _Reader:
    """Reads tokens from left to right, each rule of the grammar a method."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def sum(self) -> Number:
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = _small(value + other if sign == "+" else value - other)
        return value

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise UserError(f"{self._tokens[self._at]!r} was not expected there")

    def _product(self) -> Number:
        value = self._signed()
        while sign := self._take("*", "/", "//", "%"):
            other = self._signed()
            match sign:
                case "*":
                    value = value * other
                case "//":
                    value = value // other
                case "%":
                    value = value % other
                case _:
                    exact = isinstance(value, int) and isinstance(other, int) and other != 0 and value % other == 0
                    value = value // other if exact else value / other
            value = _small(value)
        return value

    def _signed(self) -> Number:
        sign = self._take("-", "+")
        if not sign:
            return self._power()
        value = self._signed()
        return -value if sign == "-" else value

    def _power(self) -> Number:
        value = self._atom()
        if not self._take("**"):
            return value
        exponent = self._signed()
        if value < 0 and isinstance(exponent, float) and not exponent.is_integer():
            raise UserError("a power of a negative number with a broken exponent is no real number")
        if isinstance(value, int) and abs(value) > 1 and exponent * value.bit_length() > 2 * MOST_BITS:
            raise UserError("the value is too large")
        return _small(value**exponent)

    def _atom(self) -> Number:
        if self._take("("):
            value = self.sum()
            if not self._take(")"):
                raise UserError("a parenthesis is not closed")
            return value
        if self._at == len(self._tokens):
            raise UserError("the expression ends where a number is expected")
        token = self._tokens[self._at]
        if not token[0].isdigit() and token[0] != ".":
            raise UserError(f"{token!r} stands where a number is expected")
        self._at += 1
        return _small(int(token) if token.isdigit() else float(token))

    def _take(self, *wanted: str) -> str | None:
        """The next token if it is one of these."""
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None


def _small(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise UserError("the value is too large")
    return value
