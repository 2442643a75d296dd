"""How numbers and dates are worked out step by step, as thinking writes it: digit by digit, from the right."""

from __future__ import annotations

from itertools import zip_longest

MONTHS = {
    "January": 31,
    "March": 31,
    "April": 30,
    "May": 31,
    "June": 30,
    "July": 31,
    "August": 31,
    "September": 30,
    "October": 31,
    "November": 30,
    "December": 31,
}
"""Days by month, without the one whose days depend on the year."""
_AFTER = {"January": "February", **dict(zip(list(MONTHS)[1:], [*list(MONTHS)[2:], "January"], strict=True))}


def added(a: int, b: int) -> str:
    """``47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, so 85``"""
    steps: list[str] = []
    carry = 0
    for x, y in _columns(a, b):
        terms = [x, y, carry] if carry else [x, y]
        steps.append(f"{' + '.join(map(str, terms))} = {sum(terms)}")
        carry = sum(terms) // 10
    return f"{a} + {b}: {', '.join(steps)}, so {a + b}"


def subtracted(a: int, b: int) -> str:
    """``52 - 38: 12 - 8 = 4, 4 - 3 = 1, so 14``; ``a`` is not below ``b``."""
    assert a >= b >= 0
    steps: list[str] = []
    borrowed = 0
    for x, y in _columns(a, b):
        left = x - borrowed
        borrowed = int(left < y)
        left += 10 * borrowed
        steps.append(f"{left} - {y} = {left - y}")
    return f"{a} - {b}: {', '.join(steps)}, so {a - b}"


def multiplied(a: int, times: int) -> str:
    """``34 * 7: 4 * 7 = 28, 3 * 7 + 2 = 23, so 238``; ``times`` of two digits in two parts."""
    if times > 9:
        tens, ones = 10 * (times // 10), times % 10
        return f"{a} * {tens} = {a * tens}, {multiplied(a, ones)}, {added(a * tens, a * ones)}"
    steps: list[str] = []
    carry = 0
    for x, _ in _columns(a, 0):
        found = x * times + carry
        steps.append(f"{x} * {times} + {carry} = {found}" if carry else f"{x} * {times} = {found}")
        carry = found // 10
    return f"{a} * {times}: {', '.join(steps)}, so {a * times}"


def later(day: int, month: str, days: int) -> str:
    """The date so many days later, in the next month at most: ``6 June``."""
    over = day + days - MONTHS[month]
    assert over <= 28
    return f"{over} {_AFTER[month]}" if over > 0 else f"{day + days} {month}"


def later_in_steps(day: int, month: str, days: int) -> str:
    """``12 + 25: 2 + 5 = 7, 1 + 2 = 3, so 37. May has 31. 37 - 31: 7 - 1 = 6, 3 - 3 = 0, so 6. 6 June``"""
    total, most = day + days, MONTHS[month]
    steps = [added(day, days), f"{month} has {most}"]
    if total > most:
        steps.append(subtracted(total, most))
    return f"{'. '.join(steps)}. {later(day, month, days)}"


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    """The digits of two numbers, the last ones first."""
    return [(int(x), int(y)) for x, y in zip_longest(str(a)[::-1], str(b)[::-1], fillvalue="0")]
