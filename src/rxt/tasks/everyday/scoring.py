"""Whether an answer is right, decided exactly."""

from __future__ import annotations

import re
from functools import cache

from rxt.tasks.everyday.phrases import values_of

NEVER_TOLD_START = "You haven't told me"


@cache
def _any_value(kind: str) -> re.Pattern[str]:
    longest_first = sorted(values_of(kind), key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(value) for value in longest_first) + r")(?!\w)", re.IGNORECASE)


def correct(kind: str, value: str | None, answer: str) -> bool:
    """True when ``answer`` names the value asked for, as a whole word in any case, and no other value of its kind.

    For a fact that was never told, the answer must begin with "You haven't told me".
    """
    answer = answer.replace("\u2019", "'").strip()
    if value is None:
        return answer.startswith(NEVER_TOLD_START)
    named = {match.lower() for match in _any_value(kind).findall(answer)}
    return named == {value.lower()}
