"""One reader for each kind of record, whatever layout it is written in.

A bad record is reported with its file and line (``chat.jsonl:17: answer: missing``). It either stops the reading or is
counted, remembered and skipped; nothing is dropped in silence. A stage without data of its own takes what it needs out
of richer records: interactions out of conversations, texts out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rxt.data.fields import BadRecord, as_object
from rxt.data.layouts import CONVERSATIONS, INTERACTIONS, PREFERENCES, TEXTS, Layout, kind_of_record
from rxt.data.records import (
    REASONS_KEPT,
    Conversation,
    Format,
    Interaction,
    OnBad,
    PreferenceConversation,
    Records,
    TextRecord,
    conversation_interactions,
    interaction_text,
)
from rxt.data.sources import BadRow, Row, read_rows
from rxt.errors import UserError

T = TypeVar("T")
NEEDED: dict[Format, str] = {
    "text": "text is",
    "interactions": "interactions are",
    "conversations": "conversations are",
    "preferences": "preferences are",
}
TAKEN_BY: dict[Format, str] = {
    "text": "rxt train takes text with --text",
    "interactions": "rxt train takes interactions with --interactions",
    "conversations": "rxt train takes conversations with --data",
    "preferences": "rxt train dmpo takes preferences with --data",
}
"""What to do with a file of the wrong kind."""


def read_texts(source: str | Path, on_bad: OnBad = "stop") -> Records[TextRecord]:
    """Read texts; see ``read_rows`` for what ``source`` may be.

    Raises:
        UserError: a bad record when ``on_bad`` is ``"stop"``; a file that cannot be read or holds no good record.
    """
    return read_layouts(source, on_bad, TEXTS)


def read_interactions(source: str | Path, on_bad: OnBad = "stop") -> Records[Interaction]:
    """Read single interactions in any layout; errors as in ``read_texts``."""
    return read_layouts(source, on_bad, INTERACTIONS)


def read_conversations(source: str | Path, on_bad: OnBad = "stop") -> Records[Conversation]:
    """Read conversations in any layout; errors as in ``read_texts``."""
    return read_layouts(source, on_bad, CONVERSATIONS)


def read_preferences(source: str | Path, on_bad: OnBad = "stop") -> Records[PreferenceConversation]:
    """Read preferences; errors as in ``read_texts``."""
    return read_layouts(source, on_bad, PREFERENCES)


def read_as_conversations(source: str | Path, on_bad: OnBad = "stop") -> Records[Conversation]:
    """Conversations from a file of conversations, or of preferences: those go as they should have gone."""
    if holds_preferences(source):
        return read_preferences(source, on_bad).map(lambda each: (each.accepted,))
    return read_conversations(source, on_bad)


def read_as_interactions(source: str | Path, on_bad: OnBad = "stop") -> Records[Interaction]:
    """Interactions from a file of interactions, or of conversations or preferences, whose turns are then taken one by
    one."""
    match detect_format(source):
        case "interactions":
            return read_interactions(source, on_bad)
        case "conversations" | "preferences":
            return read_as_conversations(source, on_bad).map(conversation_interactions)
        case other:
            raise UserError(
                f"{source}: holds {other}; interactions or conversations are needed here; {TAKEN_BY[other]}"
            )


def read_as_texts(source: str | Path, on_bad: OnBad = "stop") -> Records[TextRecord]:
    """Texts from a file of any kind."""
    if detect_format(source) == "text":
        return read_texts(source, on_bad)
    return read_as_interactions(source, on_bad).map(lambda interaction: (interaction_text(interaction),))


def holds_preferences(source: str | Path) -> bool:
    """Whether the first record of ``source`` that resembles any layout has accepted and rejected answers."""
    found = (_kind_of_row(row) for row in read_rows(source))
    return next((each for each in found if each is not None), None) == "preferences"


def detect_format(source: str | Path) -> Format:
    """What the first record of ``source`` that resembles any layout looks like.

    Raises:
        UserError: the source cannot be read, or no record is of a known layout.
    """
    place = None
    for row in read_rows(source):
        place = place or row.place
        found = _kind_of_row(row)
        if found is not None:
            return found
    if place is None:
        raise UserError(f"{source}: holds no record")
    raise UserError(
        f"{place}: of no known format, nor is any record after it; expected the keys text, query and answer, or "
        "interactions, or what docs/data.md lists"
    )


def _kind_of_row(row: Row | BadRow) -> Format | None:
    return kind_of_record(row.value) if isinstance(row, Row) and isinstance(row.value, dict) else None


def read_layouts(source: str | Path, on_bad: OnBad, layouts: Sequence[Layout[T]]) -> Records[T]:
    """Every record of a source, in the layout that it looks like; in the first one where it looks like none. Errors as
    in ``read_texts``."""
    items: list[T] = []
    reasons: list[str] = []
    skipped = 0
    ignored: Counter[str] = Counter()
    for row in read_rows(source):
        try:
            values = _record(row)
            layout = next((each for each in layouts if each.matches(values)), layouts[0])
            try:
                items.append(layout.parse(values))
            except BadRecord as bad:
                raise BadRecord(f"{bad}{_other_kind(values, layout.kind)}") from None
            ignored.update(layout.left_out(values))
        except BadRecord as bad:
            reason = f"{row.place}: {bad}"
            if on_bad == "stop":
                raise UserError(reason) from None
            skipped += 1
            if len(reasons) < REASONS_KEPT:
                reasons.append(reason)
    if not items:
        problem = f"all {skipped} records are bad, the first: {reasons[0]}" if skipped else "holds no record"
        raise UserError(f"{source}: {problem}")
    return Records(str(source), tuple(items), skipped, tuple(reasons), dict(ignored))


def _other_kind(values: dict[str, Any], wanted: Format) -> str:
    """What a record is instead, where it is of another kind than the one that is wanted."""
    found = kind_of_record(values)
    if found is None or found == wanted:
        return ""
    return f" (the record is of the kind {found}; {NEEDED[wanted]} needed here; {TAKEN_BY[found]})"


def _record(row: Row | BadRow) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise BadRecord(row.problem)
    return as_object(row.value, "")
