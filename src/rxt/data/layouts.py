"""How records are written down: a class for each layout that people have, and one line for it in :data:`LAYOUTS`.

| kind | layout | one record |
|---|---|---|
| text | plain | ``{"text"}`` |
| interactions | own | ``{"query", "answer", "think"?, "tool_call"?, "tool_use"?, "internal"?}`` |
| interactions | Alpaca | ``{"instruction", "input"?, "output"}`` |
| interactions | completion | ``{"prompt", "completion"}`` |
| conversations | own | ``{"interactions": [...], "system"?}`` |
| conversations | first turn apart | ``{"query", "answer", "interactions": [...], "system"?}`` |
| conversations | OpenAI | ``{"messages": [{"role", "content"}, ...]}`` |
| conversations | ShareGPT | ``{"conversations": [{"from", "value"}, ...], "system"?}`` |
| preferences | own | ``{"interactions": [{"query", "accepted": {"answer"}, "rejected": {"answer"}, "neutral"?}]}`` |

A turn of preferences may also be an interaction, ``{"query", "answer", ...}``: without a pair it is only memorized. A
null is as good as an absent key. Keys that a layout does not know are allowed on a record (they are counted in
``Records.ignored_keys``) and are an error inside a turn of our own layouts, where they are more likely a slip of the
pen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from rxt.data.fields import BadRecord, as_object, kind_of, only, optional, required, string
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
        for where, turn in entries(values, may_be_empty=bool(turns)):
            only(turn, TURN_KEYS, where)
            turns.append(interaction(turn, where))
        return Conversation(tuple(turns), optional(values, "system"))


class OpenAIMessages(Layout[Conversation]):
    """``{"messages": [{"role", "content"}, ...]}``: system or developer first, then user and assistant in turn."""

    kind = "conversations"
    keys = ("messages",)
    roles: ClassVar[Mapping[str, str]] = {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
    }

    def matches(self, values: Values) -> bool:
        return isinstance(values.get("messages"), list)

    def parse(self, values: Values) -> Conversation:
        return paired(values, "messages", "role", "content", self.roles)


class ShareGPT(Layout[Conversation]):
    """``{"conversations": [{"from", "value"}, ...], "system"?}``"""

    kind = "conversations"
    keys = ("conversations", "system")
    roles: ClassVar[Mapping[str, str]] = {
        "system": "system",
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "assistant": "assistant",
        "chatgpt": "assistant",
    }

    def matches(self, values: Values) -> bool:
        return isinstance(values.get("conversations"), list)

    def parse(self, values: Values) -> Conversation:
        return paired(values, "conversations", "from", "value", self.roles, optional(values, "system"))


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


def paired(
    values: Values,
    key: str,
    role_key: str,
    text_key: str,
    roles: Mapping[str, str],
    system: str | None = None,
) -> Conversation:
    """Messages by role as interactions: those of one role in a row are joined by line ends.

    Raises:
        BadRecord: an unknown role, a system message between others, a question or an answer that is alone.
    """
    joined: list[tuple[str, str, str]] = []  # prefix for messages, role, text
    for where, message in entries(values, key):
        name = required(message, role_key, where)
        if name not in roles:
            raise BadRecord(f"{where}{role_key}: {name!r:.40} cannot be read here; known are {', '.join(roles)}")
        text = message_text(message, text_key, where)
        if joined and joined[-1][1] == roles[name]:
            joined[-1] = (joined[-1][0], roles[name], f"{joined[-1][2]}\n{text}")
        else:
            joined.append((where, roles[name], text))
    if joined and joined[0][1] == "system":
        where, _, text = joined.pop(0)
        if system is not None:
            raise BadRecord(f"{where}{role_key}: a system message stands beside the key system; keep one of them")
        system = text
    if not joined:
        raise BadRecord(f"{key}: nobody asks or answers anything")
    for index, (where, role, _) in enumerate(joined):
        if role == "system":
            raise BadRecord(f"{where}{role_key}: a system message is read as the first one only")
        if role != ("user", "assistant")[index % 2]:
            raise BadRecord(f"{where}{role_key}: an answer without a question before it")
    if len(joined) % 2:
        raise BadRecord(f"{joined[-1][0]}{role_key}: a question without an answer after it")
    pairs = zip(joined[::2], joined[1::2], strict=True)
    return Conversation(tuple(Interaction(query, answer) for (_, _, query), (_, _, answer) in pairs), system)


def message_text(message: Values, key: str, where: str) -> str:
    """The text of a message: a string, or a list of text parts, which are joined by line ends."""
    parts = message.get(key)
    if not isinstance(parts, list):
        return required(message, key, where)
    texts = []
    for index, part in enumerate(parts):
        inside = f"{where}{key}[{index}]"
        if as_object(part, inside).get("type") != "text":
            raise BadRecord(f"{inside}: only parts of type text can be read")
        texts.append(string(part.get("text"), f"{inside}.text"))
    if not any(text.strip() for text in texts):
        raise BadRecord(f"{where}{key}: empty")
    return "\n".join(texts)
