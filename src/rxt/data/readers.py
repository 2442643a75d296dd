"""One reader for each kind of record, whatever layout it is written in.

A bad record is reported with its file and line (``chat.jsonl:17: answer: missing``). It either stops the reading or is
counted, remembered and skipped; nothing is dropped in silence. A stage without data of its own takes what it needs out
of richer records: interactions out of conversations, texts out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rxt.data.exports import messenger_of
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
WANTED: dict[Format, str] = {
    **NEEDED,
    "interactions": "interactions or conversations are",
    "conversations": "conversations are",
}
"""The same, with what they can be taken from."""
TAKEN_BY: dict[Format, str] = {
    "text": "rxt train takes text with --text",
    "interactions": "rxt train takes interactions with --interactions",
    "conversations": "rxt train takes conversations with --data",
    "preferences": "rxt train dmpo takes preferences with --data",
}
"""What to do with a file of the wrong kind."""


@dataclass(frozen=True)
class Taking(Generic[T]):
    """How records of one kind are taken out of files of another."""

    layouts: Sequence[Layout[Any]]
    """Of what the files hold."""
    out_of: Callable[[Any], Iterable[T]] = lambda record: (record,)
    """The records in each."""


def taking(found: Format, wanted: Format) -> Taking[Any] | None:
    """How to take records of the kind ``wanted`` out of those of ``found``; None where that cannot be."""
    return TAKING.get((found, wanted))


def _accepted(record: PreferenceConversation) -> tuple[Conversation]:
    return (record.accepted,)


def _texts(interactions: Iterable[Interaction]) -> list[TextRecord]:
    return [interaction_text(each) for each in interactions]


TAKING: dict[tuple[Format, Format], Taking[Any]] = {
    ("text", "text"): Taking(TEXTS),
    ("interactions", "text"): Taking(INTERACTIONS, lambda each: _texts((each,))),
    ("conversations", "text"): Taking(CONVERSATIONS, lambda each: _texts(conversation_interactions(each))),
    ("preferences", "text"): Taking(PREFERENCES, lambda each: _texts(conversation_interactions(each.accepted))),
    ("interactions", "interactions"): Taking(INTERACTIONS),
    ("conversations", "interactions"): Taking(CONVERSATIONS, conversation_interactions),
    ("preferences", "interactions"): Taking(PREFERENCES, lambda each: conversation_interactions(each.accepted)),
    ("conversations", "conversations"): Taking(CONVERSATIONS),
    ("preferences", "conversations"): Taking(PREFERENCES, _accepted),
    ("preferences", "preferences"): Taking(PREFERENCES),
}


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
    return _read_as(source, "preferences" if holds_preferences(source) else "conversations", "conversations", on_bad)


def read_as_interactions(source: str | Path, on_bad: OnBad = "stop") -> Records[Interaction]:
    """Interactions from a file of interactions, or of conversations or preferences, whose turns are then taken one by
    one."""
    return _read_as(source, detect_format(source), "interactions", on_bad)


def read_as_texts(source: str | Path, on_bad: OnBad = "stop") -> Records[TextRecord]:
    """Texts from a file of any kind."""
    return _read_as(source, detect_format(source), "text", on_bad)


def _read_as(source: str | Path, found: Format, wanted: Format, on_bad: OnBad) -> Records[Any]:
    how = taking(found, wanted)
    if how is None:
        raise UserError(f"{source}: holds {found}; {WANTED[wanted]} needed here; {TAKEN_BY[found]}")
    return read_layouts(source, on_bad, how.layouts).map(how.out_of)


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
        "interactions, or what docs/data.md lists; with --query and --answer, rxt data convert takes any two of its own"
    )


def _kind_of_row(row: Row | BadRow) -> Format | None:
    return kind_of_record(row.value) if isinstance(row, Row) and isinstance(row.value, dict) else None


@dataclass
class Tally:
    """What became of the records that were no good, and of the keys that were not read."""

    on_bad: OnBad
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def bad(self, place: str, problem: object) -> None:
        """Count a bad record and remember why, or stop.

        Raises:
            UserError: ``on_bad`` is ``"stop"``.
        """
        reason = f"{place}: {problem}"
        if self.on_bad == "stop":
            raise UserError(reason) from None
        self.skipped += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(reason)


def good_records(rows: Iterable[Row | BadRow], layouts: Sequence[Layout[T]], tally: Tally) -> Iterator[tuple[str, T]]:
    """The good records among some rows, each with its place, in the layout that it looks like; in the first one where
    it looks like none."""
    for row in rows:
        try:
            values = _record(row)
            layout = next((each for each in layouts if each.matches(values)), layouts[0])
            try:
                record = layout.parse(values)
            except BadRecord as bad:
                raise BadRecord(f"{bad}{_other_kind(values, layout.kind)}") from None
        except BadRecord as bad:
            tally.bad(row.place, bad)
        else:
            tally.ignored.update(layout.left_out(values))
            yield row.place, record


def read_layouts(source: str | Path, on_bad: OnBad, layouts: Sequence[Layout[T]]) -> Records[T]:
    """Every record of a source, in the layout that it looks like; in the first one where it looks like none. Errors as
    in ``read_texts``."""
    tally = Tally(on_bad)
    items = tuple(record for _, record in good_records(read_rows(source), layouts, tally))
    if not items:
        problem = (
            f"all {tally.skipped} records are bad, the first: {tally.reasons[0]}"
            if tally.skipped
            else "holds no record"
        )
        raise UserError(f"{source}: {problem}")
    return Records(str(source), items, tally.skipped, tuple(tally.reasons), dict(tally.ignored))


def _other_kind(values: dict[str, Any], wanted: Format) -> str:
    """What a record is instead, where it is of another kind than the one that is wanted."""
    messenger = messenger_of(values)
    if messenger is not None:
        return f" (this is an export of {messenger}; rxt data convert FILE --out chats.jsonl makes conversations of it)"
    found = kind_of_record(values)
    if found is None or found == wanted:
        return ""
    return f" (the record is of the kind {found}; {NEEDED[wanted]} needed here; {TAKEN_BY[found]})"


def _record(row: Row | BadRow) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise BadRecord(row.problem)
    return as_object(row.value, "")
