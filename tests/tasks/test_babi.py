"""bAbI files: what a story is, which stories are held out, and one clear line for every mistake."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rxt.data.records import Interaction
from rxt.errors import UserError
from rxt.tasks.babi import OKAY, BabiConfig, Line, Story, TaskShare, babi_files, read_split, read_stories

TEXT = "1 Anna ran to the attic.\n2 Where is Anna? \tattic\t1\n1 Tom sat.\n2 What does Tom hold?\tlamp,rope\t\n"
STORIES = (
    Story((Line("Anna ran to the attic."), Line("Where is Anna?", "attic"))),
    Story((Line("Tom sat."), Line("What does Tom hold?", "lamp,rope"))),
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        gzip.compress(TEXT.encode()),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\n\n").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.rstrip("\n").encode(),
    ],
    ids=["plain", "gzipped", "windows", "blank lines", "byte order mark", "no last newline"],
)
def test_a_line_1_begins_a_story(content: bytes, tmp_path: Path) -> None:
    assert read_stories(write(tmp_path / "qa1_train.txt", content)) == STORIES


def test_a_story_is_a_conversation_of_a_line_a_turn() -> None:
    assert STORIES[1].questions == (1,)
    assert STORIES[1].conversation().interactions == (
        Interaction("Tom sat.", OKAY),
        Interaction("What does Tom hold?", "lamp,rope"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no story"),
        ("\n \n", "holds no story"),
        ("2 Anna ran.\n", ":1: the line has the number 2, expected 1"),
        ("1 Anna ran.\n3 Tom ran.\n", ":2: the line has the number 3, expected 2, or 1 for the next story"),
        ("1 Anna ran.\n\nTom ran.\n", ":3: a line begins with its number in the story, found 'Tom'"),
        ("1\n", ":1: there is no text after the number"),
        ("1 Anna ran.\n2 \tattic\t1\n", ":2: there is no text after the number"),
        ("1 Where is Anna?\t \t1\n", ":1: the question has no answer after its tab"),
        (b"1 Anna\xff ran.\n", "not UTF-8 (byte 0xff at 6)"),
        (gzip.compress(TEXT.encode() * 9)[:-9], "the gzip file is cut off or damaged"),
    ],
)
def test_a_bad_file_is_one_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "qa1_train.txt", content)
    with pytest.raises(UserError) as found:
        read_stories(path)
    assert message in str(found.value)
    assert str(found.value).startswith(str(path))
    assert "\n" not in str(found.value)


def test_every_twentieth_training_story_is_held_out(babi: Path) -> None:
    every = read_stories(babi / "qa1_where_train.txt")
    train, validation, test = read_split(babi, "train"), read_split(babi, "validation"), read_split(babi, "test")
    assert validation[1] == (every[0], every[20], every[40])
    assert train[1] == tuple(story for index, story in enumerate(every) if index not in (0, 20, 40))
    assert [len(train[8]), len(validation[8])] == [19, 2]
    assert list(train) == [1, 8]
    assert list(test) == [1]
    assert [len(story.lines) for story in test[1]] == [2, 3]


def test_a_validation_file_holds_out_nothing_else(babi: Path) -> None:
    write(babi / "qa1_valid.txt", TEXT)
    assert read_split(babi, "validation")[1] == STORIES
    assert len(read_split(babi, "train")[1]) == 41


def test_tasks_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in (
        "qa10_b_train.txt",
        "qa2_two-facts_train.txt",
        "qa1_test.txt",
        "qa3_train.md",
        "xqa4_train.txt",
        "qa5_train.txt.zip",
    ):
        write(tmp_path / name, TEXT)
    found = babi_files(tmp_path)
    assert [(task, list(kinds)) for task, kinds in found.items()] == [(1, ["test"]), (2, ["train"]), (10, ["train"])]


def test_a_bad_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        babi_files(tmp_path / "none")
    with pytest.raises(UserError, match="holds no bAbI files"):
        babi_files(tmp_path)
    write(tmp_path / "qa1_a_train.txt", TEXT)
    write(tmp_path / "qa1_a_train.txt.gz", gzip.compress(TEXT.encode()))
    with pytest.raises(UserError, match=r"task 1 twice, as qa1_a_train\.txt and qa1_a_train\.txt\.gz"):
        babi_files(tmp_path)


def test_shares() -> None:
    mix = BabiConfig((TaskShare(2, 3.0),))
    assert (mix.share_of(2), mix.share_of(1)) == (3.0, 1.0)
    with pytest.raises(UserError, match="the share of bAbI task 2 must be positive"):
        TaskShare(2, 0)
    with pytest.raises(UserError, match="okay_every must be at least 1"):
        BabiConfig(okay_every=0)
