"""Files of any layout, and messengers' exports, written in this project's own layout."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rxt.data.exports import (
    Message,
    Messenger,
    conversations_of,
    messenger_of,
    people,
    telegram_messages,
    whatsapp_messages,
)
from rxt.data.file_rows import DataFile, Row
from rxt.data.layouts import OwnInteraction
from rxt.data.messages import WEIGHT
from rxt.data.readers import Tally, detect_format, good_records, taking
from rxt.data.records import (
    Conversation,
    Interaction,
    PreferenceConversation,
    PreferenceTurn,
    TextRecord,
)
from rxt.data.sources import read_rows, source_files
from rxt.data.unpacking import unpacked
from rxt.errors import UserError
from rxt.files import make_folder

Record = TextRecord | Interaction | Conversation | PreferenceConversation


@dataclass(frozen=True)
class Columns:
    """Which keys of a record, or columns of a table, are its query and its answer."""

    query: str
    answer: str


@dataclass
class Converted:
    """What became of the sources."""

    tally: Tally
    records: int = 0
    messages_left_out: int = 0
    """Of exports."""


def convert(
    sources: Sequence[str],
    out: Path,
    tally: Tally,
    answers: str | None = None,
    gap: timedelta = timedelta(hours=12),
    columns: Columns | None = None,
) -> Converted:
    """Write the records of ``sources`` into ``out``, one JSON object a line, gzipped where its name ends in ``.gz``;
    whole or not at all.

    Args:
        answers: of an export, the person whose messages the model is to learn.
        gap: of an export, the silence that ends a conversation.

    Raises:
        UserError: a source cannot be read or is of no known layout; a bad record, as the tally says; ``out`` is there.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; name a new file")
    made = Converted(tally)
    make_folder(out.parent)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with gzip.open(temporary, "wb") if out.suffix == ".gz" else open(temporary, "wb") as file:
            for source in sources:
                for record in _records(source, made, answers, gap, columns):
                    file.write((json.dumps(plain(record), ensure_ascii=False) + "\n").encode())
                    made.records += 1
        if not made.records:
            raise UserError(f"{sources[0]}: nothing to convert: {tally.skipped} records are bad, {left_out_of(made)}")
        os.replace(temporary, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return made


def left_out_of(made: Converted) -> str:
    """How many messages of chats are in no conversation."""
    return f"{made.messages_left_out} messages are asked without an answer, or answered without a question"


def _records(
    source: str, made: Converted, answers: str | None, gap: timedelta, columns: Columns | None
) -> Iterator[Record]:
    if columns is not None:
        named = (_renamed(row, columns) if isinstance(row, Row) else row for row in read_rows(source))
        yield from (record for _, record in good_records(named, [OwnInteraction()], made.tally))
        return
    first = next((row.value for row in read_rows(source) if isinstance(row, Row)), None)
    messenger = messenger_of(first)
    if messenger is not None:
        chats = list(_chats(source, messenger))
        person = _known(source, chats, answers)
        for messages in chats:
            if any(message.who == person for message in messages):
                found, left_out = conversations_of(messages, person, gap)
                made.messages_left_out += left_out
                yield from found
        return
    kind = detect_format(source)
    how = taking(kind, kind)
    assert how is not None, kind
    yield from (record for _, record in good_records(read_rows(source), how.layouts, made.tally))


def _renamed(row: Row, columns: Columns) -> Row:
    names = {"query": columns.query, "answer": columns.answer}
    if not isinstance(row.value, dict):
        return row
    for name in names.values():
        if name not in row.value:
            raise UserError(f"{row.place}: has no {name}; there are {', '.join(map(str, row.value))}")
    return Row(row.place, {key: row.value[name] for key, name in names.items()})


def _chats(source: str, messenger: Messenger) -> Iterator[list[Message]]:
    if messenger == "Telegram":
        for row in read_rows(source):
            if isinstance(row, Row):
                yield from telegram_messages(row.value)
        return
    for file in (
        inside
        for found in source_files(source)
        if isinstance(found, DataFile)
        for inside in unpacked(found.path, found.name)
    ):
        with file.reading(), file.open() as stream:
            content = stream.read()
        yield whatsapp_messages(content.decode("utf-8-sig", errors="replace").splitlines())


def _known(source: str, chats: Sequence[Sequence[Message]], answers: str | None) -> str:
    messages = [message for chat in chats for message in chat]
    if answers is None:
        raise UserError(
            f"{source}: a chat between {people(messages)}; name the person whose messages the model is to learn with "
            "--answers NAME"
        )
    if all(message.who != answers for message in messages):
        raise UserError(f"{source}: nobody is called {answers!r} in this chat; it is between {people(messages)}")
    return answers


def plain(record: Record) -> dict[str, Any]:
    """A record in our own layout."""
    match record:
        case TextRecord():
            return {"text": record.text}
        case Interaction():
            return _interaction(record)
        case Conversation():
            unlearned = record.unlearned
            turns = [
                _interaction(each) | ({WEIGHT: 0} if turn in unlearned else {})
                for turn, each in enumerate(record.interactions)
            ]
            return {"interactions": turns} | _system(record.system)
        case PreferenceConversation():
            return {"interactions": [_turn(turn) for turn in record.turns]} | _system(record.system)


def _interaction(interaction: Interaction) -> dict[str, Any]:
    asked = {} if interaction.tool_use is not None else {"query": interaction.query}
    rest = {key: value for key, value in vars(interaction).items() if key != "query" and value is not None}
    return asked | rest


def _system(system: str | None) -> dict[str, Any]:
    return {} if system is None else {"system": system}


def _turn(turn: PreferenceTurn) -> dict[str, Any]:
    accepted = _interaction(turn.accepted)
    if turn.rejected is None:
        return accepted
    said = ("answer", "think", "tool_call")
    ways = {"accepted": turn.accepted, "rejected": turn.rejected, "neutral": turn.neutral}
    asked = {key: value for key, value in accepted.items() if key not in said}
    return asked | {
        name: {key: value for key, value in _interaction(way).items() if key in said}
        for name, way in ways.items()
        if way is not None
    }
