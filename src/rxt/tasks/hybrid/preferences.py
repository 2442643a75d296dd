"""Preferences out of hybrid conversations: beside the right way to reply to a question stands a wrong one of a known
kind, thinking and calls included."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rxt.data.records import Interaction, PreferenceConversation
from rxt.data.said import spoken_in
from rxt.tasks.base import TrainingSplit
from rxt.tasks.hybrid import details
from rxt.tasks.hybrid import values as lists
from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.questions import Calling, HybridQuestion
from rxt.tasks.hybrid.talks import HybridConversation, generate
from rxt.tasks.rejected import Rejected, RejectedMix, with_wrong_ways
from rxt.tasks.seeds import seeded
from rxt.tools.tool import JsonValue, Tool, call_text

EVASIVE = ("I don't know.", "You never told me that.", "I am not sure.")
_LISTS: tuple[Sequence[str], ...] = (
    lists.NAMES,
    lists.CITIES,
    lists.OBJECTS,
    lists.JOBS,
    lists.DRINKS,
    lists.LANGUAGES,
    lists.WORDS,
    lists.CURRENCIES,
    lists.UNITS,
    lists.HOTELS,
    lists.SHOPS,
    lists.TEAMS,
    lists.TITLES,
    lists.DISHES,
    lists.SECRETS,
    lists.MESSAGES,
    details.DAYS,
    details.COLOURS,
    details.COATS,
    details.MATERIALS,
    details.BRANDS,
    details.PET_NAMES,
    details.FOODS,
    details.TIMES,
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class HybridPreferences:
    """A conversation with a wrong way to reply to each of its questions."""

    preferences: PreferenceConversation
    case: HybridConversation
    rejected: dict[int, Rejected]
    """By turn: what is wrong with the rejected way."""


def generate_preferences(
    split: TrainingSplit,
    turns: int,
    seed: int,
    index: int,
    config: HybridConfig,
    mix: RejectedMix,
    neutral_rate: float = 0.0,
) -> HybridPreferences:
    """Conversation number ``index`` of a split, as ``generate`` makes it in automatic mode, and wrong ways to reply to
    its questions: what is accepted thinks where steps are needed, and nowhere else."""
    case = generate(
        split, turns, seed, index, replace(config, auto_rate=1.0, thinking_rate=0.0, idle_thinking_rate=0.0)
    )
    writer = _Wrong(case, split, seed, index)
    asked = {question.turn: question for question in case.questions}

    def wrong(turn: int) -> dict[Rejected, Interaction]:
        return writer.ways(asked[turn]) if turn in asked else {}

    found, kinds = with_wrong_ways(case.conversation.interactions, wrong, mix, neutral_rate, writer.rng)
    return HybridPreferences(replace(found, system=case.conversation.system), case, kinds)


class _Wrong:
    """The wrong ways to reply that the questions of one conversation allow."""

    def __init__(self, case: HybridConversation, split: TrainingSplit, seed: int, index: int) -> None:
        self.case = case
        self.rng = seeded("hybrid preferences", split, seed, index)

    def ways(self, question: HybridQuestion) -> dict[Rejected, Interaction]:
        """One interaction of every kind that the question allows; each is wrong."""
        right = self.case.conversation.interactions[question.turn]
        found: dict[Rejected, Interaction] = {
            "evasive": replace(right, answer=self.rng.choice(EVASIVE), tool_call=None)
        }
        if question.turn:
            before = self.case.conversation.interactions[question.turn - 1].answer
            found["copy"] = replace(right, answer=before, tool_call=None)
        calling = question.calling
        found |= self._values(question, right) if calling is None else self._calls(question, calling, right)
        return {kind: way for kind, way in found.items() if not question.correct(spoken_in(way)) and way != right}

    def _values(self, question: HybridQuestion, right: Interaction) -> dict[Rejected, Interaction]:
        """Other values than the right one, and a call."""
        found: dict[Rejected, Interaction] = {}
        value = question.value
        other = None if value is None else self._other(value, question.others)
        if value is not None and other is not None:
            answer = right.answer.replace(value, other).replace(value.capitalize(), other.capitalize())
            found["wrong_value"] = replace(right, answer=answer, think=None)
            if right.think is not None:
                found["wrong_step"] = replace(right, answer=answer, think=_replace_last(right.think, value, other))
        calls = self._needless() if question.kind != "result" else []
        if calls:
            found["needless_call"] = replace(right, answer="", tool_call=self.rng.choice(calls))
        return found

    def _needless(self) -> list[str]:
        """Calls that are right elsewhere in the conversation, or need no arguments."""
        empty = [call_text(tool.name, {}) for tool in self.case.tools if not tool.parameters.get("required")]
        return empty + [each.calling.text for each in self.case.questions if each.calling is not None]

    def _calls(self, question: HybridQuestion, calling: Calling, right: Interaction) -> dict[Rejected, Interaction]:
        """Calls with other arguments, or of another tool, and none."""
        given = {name: self._changed(calling.tool, name, value) for name, value in calling.arguments.items()}
        other = [tool for tool in self.case.tools if tool != calling.tool]
        text = call_text(calling.tool.name, given)
        if (not calling.arguments or self.rng.random() < 0.3) and other:
            text = self._of_another(self.rng.choice(other), calling)
        after = self.case.conversation.interactions[question.turn + 1].answer
        return {
            "wrong_call": replace(right, tool_call=text),
            "no_call": replace(right, answer=after, tool_call=None),
        }

    def _of_another(self, tool: Tool, calling: Calling) -> str:
        """The same arguments, as far as they go, for a tool that nobody needs."""
        names = [*_properties(tool)]
        return call_text(tool.name, dict(zip(names, calling.arguments.values(), strict=False)))

    def _changed(self, tool: Tool, name: str, value: JsonValue) -> JsonValue:
        """Another value for an argument, where there is one that its schema allows."""
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self._number(value)
        if isinstance(value, float):
            return self._number(round(10 * value)) / 10
        if name == "action" or not isinstance(value, str):
            return value
        listed = [each for each in _listed(tool, name) if each != value]
        return self.rng.choice(listed) if listed else self._other(value, ()) or value

    def _other(self, value: str, others: Sequence[str]) -> str | None:
        """Another value of the same kind; None where no other is known."""
        if others:
            return self.rng.choice(others)
        alike = next((values for values in _LISTS if value in values), None)
        if alike is not None:
            return self.rng.choice([each for each in alike if each != value])
        numbers = _NUMBER.findall(value)
        return None if not numbers else value.replace(numbers[0], str(self._number(int(numbers[0]))), 1)

    def _number(self, number: int) -> int:
        """A number that one might take it for: a digit of it is another one."""
        digits = list(str(number))
        place = self.rng.randrange(len(digits))
        least = 1 if place == 0 and len(digits) > 1 else 0
        digits[place] = self.rng.choice([digit for digit in "0123456789"[least:] if digit != digits[place]])
        return int("".join(digits))


def _properties(tool: Tool) -> Mapping[str, JsonValue]:
    properties = tool.parameters.get("properties")
    return properties if isinstance(properties, dict) else {}


def _listed(tool: Tool, name: str) -> Sequence[str]:
    """The values that a schema allows alone; none where it allows any."""
    schema = _properties(tool).get(name)
    listed = schema.get("enum") if isinstance(schema, dict) else None
    return [str(value) for value in listed] if isinstance(listed, list) else []


def _replace_last(text: str, value: str, other: str) -> str:
    """The text with the last ``value`` in it exchanged."""
    before, found, after = text.rpartition(value)
    return f"{before}{other}{after}" if found else text
