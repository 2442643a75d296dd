"""What people have: packed files, tables, and chats out of messengers."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rxt.cli.main import main
from rxt.data.convert import Columns, convert
from rxt.data.exports import Message, conversations_of, messenger_of, whatsapp_messages
from rxt.data.readers import (
    Tally,
    read_as_conversations,
    read_as_interactions,
    read_as_texts,
    read_conversations,
    read_interactions,
    read_preferences,
    read_texts,
)
from rxt.data.records import Conversation, Interaction, Records, TextRecord
from rxt.errors import UserError

HELLO = {"query": "hello", "answer": "hi"}
LINES = b'{"text": "one"}\n{"text": "two"}\n'
TEXTS = (TextRecord("one"), TextRecord("two"))


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.bz2", bz2.compress), ("a.jsonl.xz", lzma.compress)]
)
def test_packed_files(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(LINES))
    assert read_texts(path).items == read_texts(tmp_path).items == TEXTS
    other = tmp_path / "named-otherwise"
    path.rename(other)
    assert read_texts(other).items == TEXTS, "the first bytes say how it is packed"
    other.write_bytes(pack(LINES)[:-9])
    with pytest.raises(UserError, match=r"named-otherwise: the \w+ file is cut off or damaged"):
        read_texts(other)
    text = tmp_path / name.replace("jsonl", "txt")
    text.write_bytes(pack(b"one\n\ntwo\n"))
    assert read_texts(text).items == TEXTS


def test_zip_archives_are_all_their_files(tmp_path: Path) -> None:
    path = tmp_path / "chats.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b/two.jsonl", '{"text": "two"}\n{"text": 2}\n')
        archive.writestr("a.txt", "one\n")
        archive.writestr("__MACOSX/a.txt", "no")
        archive.writestr(".hidden", "no")
    found = read_texts(path, "skip")
    assert found.items == read_texts(tmp_path, "skip").items == TEXTS
    assert found.reasons == (f"{path}/b/two.jsonl:2: text: must be a string, found a number",)
    with zipfile.ZipFile(path, "w"):
        pass
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(UserError, match=r"chats\.zip: the zip file is cut off or damaged"):
        read_texts(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x28\xb5\x2f\xfd" + bytes(9), r"a\.bin: is packed with zstd; unpack it: zstd -d "),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "is packed with 7-Zip"),
        (bytes(257) + b"ustar" + bytes(99), "is a tar archive; unpack it: tar xf"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(99)), "is a tar archive; unpack it: tar xf"),
    ],
)
def test_what_is_not_unpacked_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        read_texts(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are for POSIX systems")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe: is a pipe, which can be read once.*write it into a file first"):
        read_as_conversations(tmp_path / "pipe")


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('query,answer\nhello,"hi, you"\nbye,ciao\n')
    assert read_as_interactions(tmp_path).items == (Interaction("hello", "hi, you"), Interaction("bye", "ciao"))
    other = tmp_path / "faq.csv"
    other.write_text("id,Question,Reply\n1,hello,hi\n2,,nothing\n")
    with pytest.raises(UserError, match=r"of no known format.*rxt data convert takes any two of its own"):
        read_as_interactions(other)
    out = tmp_path / "out.jsonl"
    made = convert([str(other)], out, Tally("skip"), columns=Columns("Question", "Reply"))
    assert (made.records, made.tally.skipped) == (1, 1)
    assert read_interactions(out).items == (Interaction("hello", "hi"),)
    with pytest.raises(UserError, match=r"faq\.csv:2: has no Answer; there are id, Question, Reply"):
        convert([str(other)], tmp_path / "b.jsonl", Tally("skip"), columns=Columns("Question", "Answer"))
    assert not (tmp_path / "b.jsonl").exists()


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (read_texts, {"text": "t"}),
        (read_interactions, {"query": "q", "answer": "a", "think": "t", "tool_call": "c", "internal": "i"}),
        (read_interactions, {"tool_use": "u", "answer": "a"}),
        (read_interactions, {"instruction": "add", "input": "1 and 2", "output": "3"}),
        (read_interactions, {"prompt": "p", "completion": "c"}),
        (read_conversations, {**HELLO, "interactions": [HELLO], "system": "s"}),
        (
            read_conversations,
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a", "weight": 0},
                    {"role": "user", "content": "q2"},
                    {"role": "assistant", "content": "a2"},
                ]
            },
        ),
        (read_conversations, {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
        (
            read_preferences,
            {
                "interactions": [
                    HELLO,
                    {
                        "query": "q",
                        "internal": "i",
                        "accepted": {"answer": "a", "think": "t"},
                        "rejected": {"answer": "b"},
                        "neutral": {"answer": "n"},
                    },
                ],
                "system": "s",
            },
        ),
    ],
)
def test_what_is_converted_reads_as_before(
    tmp_path: Path, read: Callable[[Path], Records[Any]], values: dict[str, Any]
) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl.gz"
    source.write_text(json.dumps(values) + "\n")
    convert([str(source)], out, Tally("stop"))
    assert read(out).items == read(source).items
    first = json.loads(gzip.decompress(out.read_bytes()))
    assert first.keys() <= {
        "text",
        "query",
        "answer",
        "think",
        "tool_call",
        "tool_use",
        "internal",
        "interactions",
        "system",
    }
    with pytest.raises(UserError, match=r"out\.jsonl\.gz: is there already"):
        convert([str(source)], out, Tally("stop"))


WHATSAPP = {
    "day first": (
        "31.12.20, 22:15 - Messages and calls are end-to-end encrypted.\n"
        "31.12.20, 22:15 - Ann: welcome\n"
        "31.12.20, 22:16 - Bob: hello\n31.12.20, 22:16 - Bob: how are you?\n31.12.20, 22:20 - Ann: fine:\nvery fine\n"
        "31.12.20, 22:21 - Bob: <Media omitted>\n"
        "02.01.21, 9:00 - Bob: still there?\n02.01.21, 9:05 - Ann: yes\n02.01.21, 9:06 - Bob: bye\n"
    ),
    "in brackets": (
        "\u200e[12/31/20, 10:15:00\u202fPM] Ann: \u200eMessages are encrypted.\n"
        "[12/31/20, 10:16:09\u202fPM] Bob: hello\n[12/31/20, 10:16:30\u202fPM] Bob: how are you?\n"
        "[12/31/20, 10:20:00\u202fPM] Ann: fine:\nvery fine\n"
        "\u200e[12/31/20, 10:21:00\u202fPM] Bob: \u200eimage omitted\n"
        "[1/2/21, 9:00:00\u202fAM] Bob: still there?\n[1/2/21, 9:05:00\u202fAM] Ann: yes\n"
        "[1/2/21, 9:06:00\u202fAM] Bob: bye\n"
    ),
}
CHATS = (
    Conversation((Interaction("hello\nhow are you?", "fine:\nvery fine"),)),
    Conversation((Interaction("still there?", "yes"),)),
)


@pytest.mark.parametrize("style", WHATSAPP)
def test_whatsapp(tmp_path: Path, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "chat.txt", tmp_path / "out.jsonl"
    path.write_text(WHATSAPP[style], encoding="utf-8")
    with pytest.raises(UserError, match=r"chat\.txt:1: .*an export of WhatsApp; rxt data convert FILE"):
        read_as_conversations(path)
    assert read_as_texts(path).read, "as plain text it is read all the same"
    assert main(["data", "convert", str(path), "--out", str(out)]) == 2
    assert "a chat between Bob (4 messages), Ann (3 messages); name the person" in capsys.readouterr().err
    assert main(["data", "convert", str(path), "--out", str(out), "--answers", "Eve"]) == 2
    assert "nobody is called 'Eve'" in capsys.readouterr().err
    assert main(["data", "convert", str(path), "--out", str(out), "--answers", "Ann"]) == 0
    assert read_conversations(out).items == CHATS
    assert "left out: 2 messages are asked without" in capsys.readouterr().out
    packed = tmp_path / "WhatsApp Chat.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, "_chat.txt")
    convert([str(packed)], tmp_path / "again.jsonl", Tally("stop"), "Ann")
    assert read_conversations(tmp_path / "again.jsonl").items == CHATS


def test_dates_of_whatsapp() -> None:
    def dates(*stamps: str) -> list[datetime]:
        return [each.when for each in whatsapp_messages([f"{stamp} - A: x" for stamp in stamps])]

    assert dates("1.2.2021, 9:05") == [datetime(2021, 2, 1, 9, 5)]
    assert dates("1/31/21, 12:05 AM", "2/1/21, 12:05 PM") == [datetime(2021, 1, 31, 0, 5), datetime(2021, 2, 1, 12, 5)]
    assert dates("2021-02-03, 23:59") == [datetime(2021, 2, 3, 23, 59)]


def test_telegram(tmp_path: Path) -> None:
    def said(who: str | None, minute: int, text: object, kind: str = "message") -> dict[str, Any]:
        return {"id": minute, "type": kind, "date": f"2021-01-02T09:{minute:02d}:00", "from": who, "text": text}

    chat = {
        "name": "Bob",
        "type": "personal_chat",
        "id": 1,
        "messages": [
            said(None, 0, "", "service"),
            said("Bob", 1, ["hello ", {"type": "bold", "text": "you"}]),
            said("Ann", 2, "hi"),
            said("Bob", 3, ""),
        ],
    }
    path = tmp_path / "result.json"
    other = {**chat, "messages": [said("Bob", 1, "hello"), said("Eve", 2, "hi")]}
    for values in (chat, {"about": "…", "chats": {"about": "…", "list": [other, chat]}}):
        path.write_text(json.dumps(values, indent=1))
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        convert([str(path)], out, Tally("stop"), "Ann")
        assert read_conversations(out).items == (Conversation((Interaction("hello you", "hi"),)),)
    path.write_text(json.dumps(chat))
    with pytest.raises(UserError, match=r"result\.json:1: messages\[0\].*an export of Telegram; rxt data convert FILE"):
        read_as_conversations(path)


def test_what_is_no_export() -> None:
    assert messenger_of({"text": "On 1.2.2021, 9:05 - nothing happened: truly"}) is None
    assert messenger_of({"messages": [{"role": "user", "content": "a"}]}) is None
    assert messenger_of([1]) is None


def test_a_silence_ends_a_conversation_and_nothing_is_paired_across_it() -> None:
    def at(hour: int, who: str, text: str) -> Message:
        return Message(who, text, datetime(2021, 1, 1) + timedelta(hours=hour))

    messages = [at(0, "A", "one"), at(1, "B", "two"), at(2, "A", "three"), at(30, "B", "four"), at(31, "C", "five")]
    messages.append(at(32, "B", "six"))
    found, left_out = conversations_of(messages, "B", timedelta(hours=12))
    assert found == [Conversation((Interaction("one", "two"),)), Conversation((Interaction("five", "six"),))]
    assert left_out == 2
