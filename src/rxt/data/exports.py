"""Chats as messengers export them, made into conversations: WhatsApp's text files and Telegram's JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from rxt.data.records import Conversation, Interaction

Messenger = Literal["WhatsApp", "Telegram"]
MARKS = "\u200e\u200f\ufeff"
"""Of direction and byte order: WhatsApp writes them before some lines."""
STAMP = re.compile(
    rf"[{MARKS}]*\[?(?P<date>\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}),?\s"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.]\d{2})?(?:\s?(?P<half>[AaPp])\.?\s?[Mm]\.?)?(?:\]|\s-)\s(?P<rest>.*)"
)
SAID = re.compile(r"(?P<who>[^:]{1,80}):\s(?P<text>.*)")
OMITTED = re.compile(r"<[^<>]*omitted>|[\w ]+ omitted|<attached: .*>|This message was deleted|null", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """What one person wrote, and when."""

    who: str
    text: str
    when: datetime


def messenger_of(value: object) -> Messenger | None:
    """Which messenger wrote a record, as it is read from a text or JSON file; None for any other record."""
    if not isinstance(value, dict):
        return None
    text = value.get("text")
    if isinstance(text, str):
        first = STAMP.match(text.partition("\n")[0])
        return None if first is None else "WhatsApp"
    return "Telegram" if any(True for _ in _telegram_chats(value)) else None


def whatsapp_messages(lines: Sequence[str]) -> list[Message]:
    """The messages of an export; notices and media are left out, a line without a stamp goes on from the one before."""
    found: list[tuple[re.Match[str], str, list[str]]] = []
    for line in lines:
        stamp = STAMP.match(line)
        if stamp is None:
            if found:
                found[-1][2].append(line)
            continue
        said = SAID.match(stamp["rest"])
        found.append((stamp, said["who"].strip(MARKS) if said else "", [said["text"].strip(MARKS)] if said else []))
    dates = [[int(number) for number in re.split(r"[./-]", stamp["date"])] for stamp, _, _ in found]
    day_first = not any(date[1] > 12 for date in dates)
    messages = []
    for (stamp, who, texts), date in zip(found, dates, strict=True):
        text = "\n".join(texts).strip()
        if who and text and not OMITTED.fullmatch(text):
            messages.append(Message(who, text, _when(stamp, date, day_first)))
    return messages


def _when(stamp: re.Match[str], date: Sequence[int], day_first: bool) -> datetime:
    first, second, third = date
    year, month, day = (
        (first, second, third) if first > 31 else (third, second, first) if day_first else (third, first, second)
    )
    hour = int(stamp["hour"]) % 12 + 12 * (stamp["half"] in "pP") if stamp["half"] else int(stamp["hour"])
    return datetime(year + 2000 * (year < 100), min(month, 12), min(day, 28), min(hour, 23)) + timedelta(
        days=max(0, day - 28), minutes=int(stamp["minute"])
    )


def _telegram_chats(value: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The messages of each chat in an export of one or of all."""
    chats = value.get("chats")
    listed = chats.get("list") if isinstance(chats, dict) else [value]
    for chat in listed if isinstance(listed, list) else []:
        messages = chat.get("messages") if isinstance(chat, dict) else None
        if (
            isinstance(messages, list)
            and messages
            and all(isinstance(each, dict) and "date" in each and "type" in each for each in messages)
        ):
            yield messages


def telegram_messages(value: dict[str, Any]) -> Iterator[list[Message]]:
    """The messages of each chat; notices and media are left out."""
    for chat in _telegram_chats(value):
        yield [
            Message(each["from"], text, datetime.fromisoformat(each["date"]))
            for each in chat
            if each["type"] == "message" and each.get("from") and (text := _telegram_text(each.get("text")))
        ]


def _telegram_text(text: object) -> str:
    """A string, or a list of strings and of objects with a text (links, bold)."""
    parts = text if isinstance(text, list) else [text]
    return "".join(
        part if isinstance(part, str) else part["text"]
        for part in parts
        if isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))
    ).strip()


def people(messages: Iterable[Message]) -> str:
    """Who wrote how much, for a message to the user."""
    return ", ".join(
        f"{who} ({count} messages)" for who, count in Counter(each.who for each in messages).most_common(6)
    )


def conversations_of(messages: Sequence[Message], answers: str, gap: timedelta) -> tuple[list[Conversation], int]:
    """Conversations in which one person answers the others, and how many messages had no place in them.

    A silence of more than ``gap`` ends a conversation. Successive messages of one side are joined by line ends. What
    is answered without a question before it, or asked without an answer after it, is left out.
    """
    found: list[Conversation] = []
    left_out = 0
    for talk in _talks(messages, gap):
        turns: list[tuple[list[str], list[str]]] = []
        for message in talk:
            answering = message.who == answers
            if not answering and (not turns or turns[-1][1]):
                turns.append(([], []))
            if turns:
                turns[-1][answering].append(message.text)
            else:
                left_out += 1
        if turns and not turns[-1][1]:
            left_out += len(turns.pop()[0])
        if turns:
            found.append(Conversation(tuple(Interaction("\n".join(asked), "\n".join(said)) for asked, said in turns)))
    return found, left_out


def _talks(messages: Sequence[Message], gap: timedelta) -> Iterator[list[Message]]:
    talk: list[Message] = []
    for message in messages:
        if talk and message.when - talk[-1].when > gap:
            yield talk
            talk = []
        talk.append(message)
    if talk:
        yield talk
