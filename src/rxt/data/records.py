"""The records that training reads: texts, interactions, conversations, preferences; and one reader for each.

A bad record is reported with its file and line (``chat.jsonl:17: answer: missing``). It either stops the reading or is
counted, remembered and skipped; nothing is dropped in silence.

| format | one record |
|---|---|
| text | ``{"text"}`` |
| interactions | ``{"query", "answer", "think"?, "tool_call"?, "tool_use"?, "internal"?}`` |
| conversations | ``{"interactions": [...], "system"?}``, or with the first turn apart: ``{"query", "answer", "interactions": [...]}`` |
| preferences | ``{"interactions": [{"query", "accepted": {"answer", ...}, "rejected": {...}, "neutral"?: {...}}], "system"?}`` |

A turn of preferences may also be an interaction, ``{"query", "answer", ...}``: without a pair it is only memorized. A
null is as good as an absent key. Keys that no format knows are allowed on a record (they are counted in
``Records.ignored_keys``) and are an error inside a turn, where they are more likely a slip of the pen.
"""  # noqa: E501

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, overload

from rxt.data.sources import BadRow, Row, read_rows
from rxt.errors import UserError

OnBad = Literal["stop", "skip"]
Format = Literal["text", "interactions", "conversations", "preferences"]
T = TypeVar("T")

REASONS_KEPT = 100
_OPTIONAL_PARTS = ("think", "tool_call", "tool_use", "internal")
_TURN_KEYS = ("query", "answer", *_OPTIONAL_PARTS)


@dataclass(frozen=True)
class TextRecord:
    """A plain text."""

    text: str


@dataclass(frozen=True)
class Interaction:
    """One query and its answer. With ``tool_use`` a tool's result takes the query's place and ``query`` is empty."""

    query: str
    answer: str
    think: str | None = None
    tool_call: str | None = None
    tool_use: str | None = None
    internal: str | None = None


@dataclass(frozen=True)
class Conversation:
    """Interactions in order, one at least, and the system prompt that is memorized before them."""

    interactions: tuple[Interaction, ...]
    system: str | None = None
    unlearned: frozenset[int] = frozenset()
    """Interactions, counted from 0, whose answers are memorized like the others, but are nothing to learn from."""


@dataclass(frozen=True)
class PreferenceTurn:
    """The same query answered in an accepted, a rejected and perhaps a neutral way; each is a whole interaction.

    A turn without a rejected way is only memorized.
    """

    accepted: Interaction
    rejected: Interaction | None = None
    neutral: Interaction | None = None

    @property
    def query(self) -> str:
        return self.accepted.query


@dataclass(frozen=True)
class PreferenceConversation:
    """Preference turns in order, of which one at least has a pair; only the accepted interaction of each is
    memorized."""

    turns: tuple[PreferenceTurn, ...]
    system: str | None = None

    @property
    def accepted(self) -> Conversation:
        """The conversation as it should have gone."""
        return Conversation(tuple(turn.accepted for turn in self.turns), self.system)


@dataclass(frozen=True)
class Records(Sequence[T], Generic[T]):
    """What a reader found: the good records, and what became of the others."""

    source: str
    items: tuple[T, ...]
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    """Place and problem of the first ``REASONS_KEPT`` skipped records."""
    ignored_keys: Mapping[str, int] = field(default_factory=dict)
    """How many records held a key that no format knows, by key."""

    @property
    def read(self) -> int:
        """Records found, good and bad; blank lines are not records."""
        return len(self.items) + self.skipped

    @property
    def summary(self) -> str:
        """One line: ``chat.jsonl: 100 records, 2 skipped (first: chat.jsonl:17: answer: missing)``."""
        skipped = f", {self.skipped} skipped (first: {self.reasons[0]})" if self.skipped else ""
        return f"{self.source}: {self.read} records{skipped}"

    def map(self, change: Callable[[T], Iterable[Any]]) -> Records[Any]:
        """The records that ``change`` makes of each item; the counts of what was skipped stay."""
        changed = tuple(new for item in self.items for new in change(item))
        return Records(self.source, changed, self.skipped, self.reasons, self.ignored_keys)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]


# One reader for each format.


def read_texts(source: str | Path, on_bad: OnBad = "stop") -> Records[TextRecord]:
    """Read the text format from a file or hub data set; see ``read_rows`` for what ``source`` may be.

    Raises:
        UserError: a bad record when ``on_bad`` is ``"stop"``; a file that cannot be read or holds no good record.
    """
    return _read(source, on_bad, ("text",), _text)


def read_interactions(source: str | Path, on_bad: OnBad = "stop") -> Records[Interaction]:
    """Read the interactions format; errors as in ``read_texts``."""
    return _read(source, on_bad, _TURN_KEYS, _interaction)


def read_conversations(source: str | Path, on_bad: OnBad = "stop") -> Records[Conversation]:
    """Read the conversations format, in either layout; errors as in ``read_texts``."""
    return _read(source, on_bad, (*_TURN_KEYS, "interactions", "system"), _conversation)


def read_preferences(source: str | Path, on_bad: OnBad = "stop") -> Records[PreferenceConversation]:
    """Read the preferences format; errors as in ``read_texts``."""
    return _read(source, on_bad, ("interactions", "system"), _preferences)


def read_as_conversations(source: str | Path, on_bad: OnBad = "stop") -> Records[Conversation]:
    """Conversations from a file of conversations, or of preferences: those go as they should have gone."""
    if holds_preferences(source):
        return read_preferences(source, on_bad).map(lambda each: (each.accepted,))
    return read_conversations(source, on_bad)


def holds_preferences(source: str | Path) -> bool:
    """Whether the first record of ``source`` that resembles any format has accepted and rejected answers."""
    found = (_resembles(row.value) for row in read_rows(source) if isinstance(row, Row) and isinstance(row.value, dict))
    return next((each for each in found if each is not None), None) == "preferences"


def detect_format(source: str | Path) -> Format:
    """What the first record of ``source`` that resembles any format looks like.

    Raises:
        UserError: the source cannot be read, or no record is of a known format.
    """
    place = None
    for row in read_rows(source):
        place = place or row.place
        found = _resembles(row.value) if isinstance(row, Row) and isinstance(row.value, dict) else None
        if found is not None:
            return found
    if place is None:
        raise UserError(f"{source}: holds no record")
    raise UserError(
        f"{place}: of no known format, nor is any record after it; expected the keys text, query and answer, or interactions"  # noqa: E501
    )


def read_as_interactions(source: str | Path, on_bad: OnBad = "stop") -> Records[Interaction]:
    """Interactions from a file of interactions or of conversations, whose turns are then taken one by one."""
    match detect_format(source):
        case "interactions":
            return read_interactions(source, on_bad)
        case "conversations":
            return read_conversations(source, on_bad).map(conversation_interactions)
        case other:
            raise UserError(f"{source}: holds {other}; interactions or conversations are needed here")


def read_as_texts(source: str | Path, on_bad: OnBad = "stop") -> Records[TextRecord]:
    """Texts from a file of texts, interactions or conversations."""
    if detect_format(source) == "text":
        return read_texts(source, on_bad)
    return read_as_interactions(source, on_bad).map(lambda interaction: (interaction_text(interaction),))


def conversation_interactions(conversation: Conversation) -> tuple[Interaction, ...]:
    """The turns alone, for stages that know no memory; the system prompt, which is only ever memorized, is left out."""
    return conversation.interactions


def interaction_text(interaction: Interaction) -> TextRecord:
    """All that is said in an interaction as plain text, one part a line, in the order of the template."""
    opening = interaction.query if interaction.tool_use is None else interaction.tool_use
    parts = (interaction.internal, opening, interaction.think, interaction.answer, interaction.tool_call)
    return TextRecord("\n".join(part for part in parts if part))


# From plain values to records. A problem is a _Bad that names the field; _read adds file and line.


class _Bad(Exception):
    """Field and problem of a bad record."""


def _read(
    source: str | Path, on_bad: OnBad, known: tuple[str, ...], parse: Callable[[dict[str, Any]], T]
) -> Records[T]:
    items: list[T] = []
    reasons: list[str] = []
    skipped = 0
    ignored: Counter[str] = Counter()
    for row in read_rows(source):
        try:
            values = _record(row)
            items.append(parse(values))
            ignored.update(key for key in values if key not in known)
        except _Bad as bad:
            reason = f"{row.place}: {bad}"
            if on_bad == "stop":
                raise UserError(reason) from None
            skipped += 1
            if len(reasons) < REASONS_KEPT:
                reasons.append(reason)
    if not items:
        raise UserError(
            f"{source}: all {skipped} records are bad, the first: {reasons[0]}"
            if skipped
            else f"{source}: holds no record"
        )
    return Records(str(source), tuple(items), skipped, tuple(reasons), dict(ignored))


def _resembles(values: dict[str, Any]) -> Format | None:
    turns = values.get("interactions")
    if isinstance(turns, list):
        pairs = any(isinstance(turn, dict) and ("accepted" in turn or "rejected" in turn) for turn in turns)
        return "preferences" if pairs else "conversations"
    if values.get("answer") is not None:
        return "interactions"
    return "text" if values.get("text") is not None else None


def _record(row: Row | BadRow) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise _Bad(row.problem)
    return _object(row.value, "")


def _text(values: dict[str, Any]) -> TextRecord:
    return TextRecord(_required(values, "text"))


def _interaction(values: dict[str, Any], where: str = "") -> Interaction:
    tool_use = _optional(values, "tool_use", where)
    tool_call = _optional(values, "tool_call", where)
    query = _opening(values, tool_use, where)
    answer = _required(values, "answer", where, may_be_empty=tool_call is not None)
    return Interaction(
        query, answer, _optional(values, "think", where), tool_call, tool_use, _optional(values, "internal", where)
    )


def _conversation(values: dict[str, Any]) -> Conversation:
    turns = []
    if values.get("query") is not None or values.get("answer") is not None:
        turns.append(_interaction(values))
    for where, turn in _turns(values, may_be_empty=bool(turns)):
        _only(turn, _TURN_KEYS, where)
        turns.append(_interaction(turn, where))
    return Conversation(tuple(turns), _optional(values, "system"))


def _preferences(values: dict[str, Any]) -> PreferenceConversation:
    turns = []
    for where, turn in _turns(values):
        if (
            turn.get("accepted") is None
            and turn.get("rejected") is None
            and (turn.get("answer") or turn.get("tool_call")) is not None
        ):
            _only(turn, _TURN_KEYS, where)
            turns.append(PreferenceTurn(_interaction(turn, where)))
            continue
        _only(turn, ("query", "tool_use", "internal", "accepted", "rejected", "neutral"), where)
        accepted, rejected = _way(turn, "accepted", where), _way(turn, "rejected", where)
        if accepted == rejected:
            raise _Bad(f"{where}rejected: the same as accepted")
        neutral = _way(turn, "neutral", where) if turn.get("neutral") is not None else None
        turns.append(PreferenceTurn(accepted, rejected, neutral))
    if all(turn.rejected is None for turn in turns):
        raise _Bad("interactions: no turn has an accepted and a rejected answer")
    return PreferenceConversation(tuple(turns), _optional(values, "system"))


def _way(turn: dict[str, Any], name: str, where: str) -> Interaction:
    """One way of answering: its own answer, thinking and tool call; query, tool result and internal text of the
    turn."""
    if turn.get(name) is None:
        raise _Bad(f"{where}{name}: missing")
    inside = f"{where}{name}."
    answer = _object(turn[name], f"{where}{name}")
    _only(answer, ("answer", "think", "tool_call"), inside)
    shared = {key: turn.get(key) for key in ("query", "tool_use", "internal")}
    _opening(shared, _optional(shared, "tool_use", where), where)
    return _interaction(answer | shared, inside)


def _opening(values: dict[str, Any], tool_use: str | None, where: str) -> str:
    if tool_use is None:
        return _required(values, "query", where)
    if values.get("query"):
        raise _Bad(f"{where}tool_use: stands beside a query, whose place it takes; make them two interactions")
    return ""


def _turns(values: dict[str, Any], may_be_empty: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """(prefix for messages, values) of each entry under "interactions"."""
    turns = values.get("interactions")
    if turns is None:
        raise _Bad("interactions: missing")
    if not isinstance(turns, list):
        raise _Bad(f"interactions: must be a list, found {_kind(turns)}")
    if not turns and not may_be_empty:
        raise _Bad("interactions: the conversation is empty")
    for index, turn in enumerate(turns):
        yield f"interactions[{index}].", _object(turn, f"interactions[{index}]")


def _only(values: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key, value in values.items():
        if key not in known and value is not None:
            raise _Bad(f"{where}{key}: unknown key; known are {', '.join(known)}")


def _required(values: dict[str, Any], key: str, where: str = "", may_be_empty: bool = False) -> str:
    value = values.get(key)
    if value is None:
        raise _Bad(f"{where}{key}: missing")
    value = _string(value, f"{where}{key}")
    if not may_be_empty and not value.strip():
        raise _Bad(f"{where}{key}: empty")
    return value


def _optional(values: dict[str, Any], key: str, where: str = "") -> str | None:
    """An optional part; a blank one is as good as none."""
    value = values.get(key)
    return None if value is None or not _string(value, f"{where}{key}").strip() else value


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _Bad(f"{where}: must be a string, found {_kind(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Bad(f"{where}: holds half of a surrogate pair, which is not Unicode text")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Bad(
            f"{where}: must be an object, found {_kind(value)}"
            if where
            else f"must be an object with keys, found {_kind(value)}"
        )
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)
