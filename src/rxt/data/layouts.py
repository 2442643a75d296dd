"""How records are written down: a class for each layout that people have, and one line for it in :data:`LAYOUTS`.

| kind | layout | one record |
|---|---|---|
| text | plain | ``{"text"}`` |
| interactions | own | ``{"query", "answer", "think"?, "tool_call"?, "tool_use"?, "internal"?}`` |
| interactions | Alpaca | ``{"instruction", "input"?, "output"}`` |
| interactions | completion | ``{"prompt", "completion"}`` |
| conversations | own | ``{"interactions": [{"query", "answer", "weight"?, ...}], "system"?}`` |
| conversations | first turn apart | ``{"query", "answer", "interactions": [...], "system"?}`` |
| conversations | OpenAI | ``{"messages": [{"role", "content", "weight"?}, ...]}`` |
| conversations | ShareGPT | ``{"conversations": [{"from", "value", "weight"?}, ...], "system"?}`` |
| preferences | own | ``{"interactions": [{"query", "accepted": {"answer"}, "rejected": {"answer"}, "neutral"?}]}`` |

A turn of preferences may also be an interaction, ``{"query", "answer", ...}``: without a pair it is only memorized. A
null is as good as an absent key. Keys that a layout does not know are allowed on a record and in a message (they are
counted in ``Records.ignored_keys``) and are an error inside a turn of our own layouts, where they are more likely a
slip of the pen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from rxt.data.fields import BadRecord, as_object, kind_of, only, optional, required
from rxt.data.messages import WEIGHT, is_learned, paired
from rxt.data.records import Conversation, Format, Interaction, PreferenceConversation, PreferenceTurn, TextRecord

Values = dict[str, Any]
R = TypeVar("R")
TURN_KEYS = ("query", "answer", "think", "tool_call", "tool_use", "internal")


class Layout(ABC, Generic[R]):
    """One way of writing records of a kind."""

    kind: ClassVar[Format]
    keys: ClassVar[tuple[str, ...]]
    """The keys of a record that it knows."""

    @abstractmethod
    def matches(self, values: Values) -> bool:
        """Whether a record looks like this layout, right or wrong inside."""

    @abstractmethod
    def parse(self, values: Values) -> R:
        """The record.

        Raises:
            BadRecord: a field is missing, empty, of another type, or cannot be paired.
        """

    def left_out(self, values: Values) -> list[str]:
        """The keys of a good record that are not read, each once."""
        return [key for key, value in values.items() if key not in self.keys and value is not None]


class PlainText(Layout[TextRecord]):
    """``{"text"}``"""

    kind = "text"
    keys = ("text",)

    def matches(self, values: Values) -> bool:
        return values.get("text") is not None

    def parse(self, values: Values) -> TextRecord:
        return TextRecord(required(values, "text"))


class OwnInteraction(Layout[Interaction]):
    """``{"query", "answer", "think"?, "tool_call"?, "tool_use"?, "internal"?}``"""

    kind = "interactions"
    keys = TURN_KEYS

    def matches(self, values: Values) -> bool:
        return values.get("answer") is not None and not isinstance(values.get("interactions"), list)

    def parse(self, values: Values) -> Interaction:
        return interaction(values)


class Alpaca(Layout[Interaction]):
    """``{"instruction", "input"?, "output"}``: the input stands below the instruction."""

    kind = "interactions"
    keys = ("instruction", "input", "output")

    def matches(self, values: Values) -> bool:
        return values.get("instruction") is not None

    def parse(self, values: Values) -> Interaction:
        given = optional(values, "input")
        instruction = required(values, "instruction")
        return Interaction(f"{instruction}\n{given}" if given else instruction, required(values, "output"))


class Completion(Layout[Interaction]):
    """``{"prompt", "completion"}``"""

    kind = "interactions"
    keys = ("prompt", "completion")

    def matches(self, values: Values) -> bool:
        return values.get("completion") is not None and values.get("prompt") is not None

    def parse(self, values: Values) -> Interaction:
        return Interaction(required(values, "prompt"), required(values, "completion"))


class OwnConversation(Layout[Conversation]):
    """``{"interactions": [...], "system"?}``, with the first turn apart or not."""

    kind = "conversations"
    keys = (*TURN_KEYS, "interactions", "system")

    def matches(self, values: Values) -> bool:
        return isinstance(values.get("interactions"), list) and not has_pairs(values)

    def parse(self, values: Values) -> Conversation:
        turns = []
        if values.get("query") is not None or values.get("answer") is not None:
            turns.append(interaction(values))
        unlearned = set[int]()
        for where, turn in entries(values, may_be_empty=bool(turns)):
            only(turn, (*TURN_KEYS, WEIGHT), where)
            if not is_learned(turn, where):
                unlearned.add(len(turns))
            turns.append(interaction(turn, where))
        return Conversation(tuple(turns), optional(values, "system"), frozenset(unlearned))


class Messages(Layout[Conversation]):
    """A list of what was said, each message with its role, its text and perhaps a ``weight``."""

    kind = "conversations"
    list_key: ClassVar[str]
    role_key: ClassVar[str]
    text_key: ClassVar[str]
    roles: ClassVar[Mapping[str, str]]
    """What it calls system, user and assistant."""

    def matches(self, values: Values) -> bool:
        return isinstance(values.get(self.list_key), list)

    def parse(self, values: Values) -> Conversation:
        system = optional(values, "system") if "system" in self.keys else None
        messages = entries(values, self.list_key)
        return paired(messages, self.list_key, self.role_key, self.text_key, self.roles, system)

    def left_out(self, values: Values) -> list[str]:
        read = (self.role_key, self.text_key, WEIGHT)
        given = [key for message in values[self.list_key] for key, value in message.items() if value not in (None, [])]
        inside = [f"{self.list_key}[].{key}" for key in dict.fromkeys(given) if key not in read]
        return super().left_out(values) + inside


class OpenAIMessages(Messages):
    """``{"messages": [{"role", "content"}, ...]}``: system or developer first, then user and assistant in turn."""

    keys = ("messages",)
    list_key, role_key, text_key = "messages", "role", "content"
    roles: ClassVar[Mapping[str, str]] = {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
    }


class ShareGPT(Messages):
    """``{"conversations": [{"from", "value"}, ...], "system"?}``"""

    keys = ("conversations", "system")
    list_key, role_key, text_key = "conversations", "from", "value"
    roles: ClassVar[Mapping[str, str]] = {
        "system": "system",
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "assistant": "assistant",
        "chatgpt": "assistant",
    }


class OwnPreferences(Layout[PreferenceConversation]):
    """``{"interactions": [{"query", "accepted", "rejected", "neutral"?} or an interaction, ...], "system"?}``"""

    kind = "preferences"
    keys = ("interactions", "system")

    def matches(self, values: Values) -> bool:
        return has_pairs(values)

    def parse(self, values: Values) -> PreferenceConversation:
        turns = [preference_turn(turn, where) for where, turn in entries(values)]
        if all(turn.rejected is None for turn in turns):
            raise BadRecord("interactions: no turn has an accepted and a rejected answer")
        return PreferenceConversation(tuple(turns), optional(values, "system"))


TEXTS: tuple[Layout[TextRecord], ...] = (PlainText(),)
INTERACTIONS: tuple[Layout[Interaction], ...] = (OwnInteraction(), Alpaca(), Completion())
CONVERSATIONS: tuple[Layout[Conversation], ...] = (OwnConversation(), OpenAIMessages(), ShareGPT())
PREFERENCES: tuple[Layout[PreferenceConversation], ...] = (OwnPreferences(),)
LAYOUTS: tuple[Layout[Any], ...] = (*PREFERENCES, *CONVERSATIONS, *INTERACTIONS, *TEXTS)
"""All of them, those first whose records could be taken for another's."""


def kind_of_record(values: Values) -> Format | None:
    """The kind of the first layout that a record looks like."""
    return next((layout.kind for layout in LAYOUTS if layout.matches(values)), None)


def interaction(values: Values, where: str = "") -> Interaction:
    """An interaction of our own layout; ``where`` stands before its fields in messages."""
    tool_use = optional(values, "tool_use", where)
    tool_call = optional(values, "tool_call", where)
    query = opening(values, tool_use, where)
    answer = required(values, "answer", where, may_be_empty=tool_call is not None)
    return Interaction(
        query, answer, optional(values, "think", where), tool_call, tool_use, optional(values, "internal", where)
    )


def opening(values: Values, tool_use: str | None, where: str) -> str:
    """The query, which is empty where a tool's result takes its place."""
    if tool_use is None:
        return required(values, "query", where)
    if values.get("query"):
        raise BadRecord(f"{where}tool_use: stands beside a query, whose place it takes; make them two interactions")
    return ""


def preference_turn(turn: Values, where: str) -> PreferenceTurn:
    """A turn with a pair, or an interaction that is only memorized."""
    has_pair = turn.get("accepted") is not None or turn.get("rejected") is not None
    if not has_pair and (turn.get("answer") or turn.get("tool_call")) is not None:
        only(turn, TURN_KEYS, where)
        return PreferenceTurn(interaction(turn, where))
    only(turn, ("query", "tool_use", "internal", "accepted", "rejected", "neutral"), where)
    accepted, rejected = way(turn, "accepted", where), way(turn, "rejected", where)
    if accepted == rejected:
        raise BadRecord(f"{where}rejected: the same as accepted")
    neutral = way(turn, "neutral", where) if turn.get("neutral") is not None else None
    return PreferenceTurn(accepted, rejected, neutral)


def way(turn: Values, name: str, where: str) -> Interaction:
    """One way of answering: its own answer, thinking and tool call; query, tool result and internal text of the
    turn."""
    if turn.get(name) is None:
        raise BadRecord(f"{where}{name}: missing")
    inside = f"{where}{name}."
    answer = as_object(turn[name], f"{where}{name}")
    only(answer, ("answer", "think", "tool_call"), inside)
    shared = {key: turn.get(key) for key in ("query", "tool_use", "internal")}
    opening(shared, optional(shared, "tool_use", where), where)
    return interaction(answer | shared, inside)


def has_pairs(values: Values) -> bool:
    """Whether any turn has an accepted or a rejected answer."""
    turns = values.get("interactions")
    return isinstance(turns, list) and any(
        isinstance(turn, dict) and ("accepted" in turn or "rejected" in turn) for turn in turns
    )


def entries(values: Values, key: str = "interactions", may_be_empty: bool = False) -> Iterator[tuple[str, Values]]:
    """(prefix for messages, values) of each entry under ``key``."""
    turns = values.get(key)
    if turns is None:
        raise BadRecord(f"{key}: missing")
    if not isinstance(turns, list):
        raise BadRecord(f"{key}: must be a list, found {kind_of(turns)}")
    if not turns and not may_be_empty:
        raise BadRecord(f"{key}: the conversation is empty")
    for index, turn in enumerate(turns):
        yield f"{key}[{index}].", as_object(turn, f"{key}[{index}]")
