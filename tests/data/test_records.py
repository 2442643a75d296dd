"""Readers: every format read in full, every kind of bad input reported with its place."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factories import tiny_tokenizer
from rxt.data import sources
from rxt.data.prepared.prepare import prepare
from rxt.data.readers import (
    detect_format,
    read_as_conversations,
    read_as_interactions,
    read_as_texts,
    read_conversations,
    read_interactions,
    read_preferences,
    read_texts,
)
from rxt.data.records import (
    Conversation,
    Interaction,
    PreferenceConversation,
    PreferenceTurn,
    Records,
    TextRecord,
    conversation_interactions,
    interaction_text,
)
from rxt.data.sources import choose_hub_files
from rxt.errors import UserError

HELLO = {"query": "hello", "answer": "hi"}
BYE = {"query": "bye", "answer": "see you"}
GOOD = json.dumps({"interactions": [HELLO, BYE]}).encode()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write lines, JSON values or raw bytes, to ``chat.jsonl``."""

    def make(*lines: Any, name: str = "chat.jsonl", ending: bytes = b"\n") -> Path:
        path = tmp_path / name
        path.write_bytes(
            b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + ending for line in lines)
        )
        return path

    return make


def test_texts(write: Callable[..., Path]) -> None:
    assert read_texts(write({"text": "one"}, {"text": " two\n"})).items == (TextRecord("one"), TextRecord(" two\n"))


def test_interactions_with_every_part(write: Callable[..., Path]) -> None:
    whole = {"query": "q", "answer": "a", "think": "t", "tool_call": "c", "internal": "i"}
    after_tool = {"query": "", "answer": "a", "tool_use": "u"}
    without_query = {"answer": "a", "tool_use": "u"}
    only_calls = {"query": "q", "answer": "", "tool_call": "c", "think": None, "internal": " "}
    assert read_interactions(write(whole, after_tool, without_query, only_calls)).items == (
        Interaction("q", "a", think="t", tool_call="c", internal="i"),
        Interaction("", "a", tool_use="u"),
        Interaction("", "a", tool_use="u"),
        Interaction("q", "", tool_call="c"),
    )


def test_conversations_in_both_layouts(write: Callable[..., Path]) -> None:
    path = write(
        {"interactions": [HELLO, BYE], "system": "be kind"},
        {**HELLO, "interactions": [BYE]},
        {**HELLO, "interactions": []},
    )
    hello, bye = Interaction("hello", "hi"), Interaction("bye", "see you")
    assert read_conversations(path).items == (
        Conversation((hello, bye), "be kind"),
        Conversation((hello, bye)),
        Conversation((hello,)),
    )


def test_preferences(write: Callable[..., Path]) -> None:
    turn = {"query": "q", "internal": "i", "accepted": {"answer": "yes", "think": "t"}, "rejected": {"answer": "no"}}
    after_tool = {
        "tool_use": "u",
        "accepted": {"answer": "yes"},
        "rejected": {"answer": "no"},
        "neutral": {"answer": "hm"},
    }
    (found,) = read_preferences(write({"interactions": [turn, after_tool], "system": "s"}))
    first = PreferenceTurn(Interaction("q", "yes", think="t", internal="i"), Interaction("q", "no", internal="i"))
    ways = [Interaction("", answer, tool_use="u") for answer in ("yes", "no", "hm")]
    assert found == PreferenceConversation((first, PreferenceTurn(*ways)), "s")
    assert found.accepted == Conversation((first.accepted, ways[0]), "s")
    assert found.turns[0].query == "q"


def test_a_turn_without_a_pair_is_only_memorized(write: Callable[..., Path]) -> None:
    pair = {"query": "q", "accepted": YES, "rejected": NO}
    call = {"query": "q", "answer": "", "tool_call": "c"}
    (found,) = read_preferences(write({"interactions": [HELLO, pair, call]}))
    assert found.turns[0] == PreferenceTurn(Interaction("hello", "hi"))
    assert found.turns[1].rejected is not None
    assert found.turns[2] == PreferenceTurn(Interaction("q", "", tool_call="c"))
    assert [turn.query for turn in found.accepted.interactions] == ["hello", "q", "q"]


def test_preferences_as_conversations_went_well(write: Callable[..., Path]) -> None:
    pair = {"query": "q", "accepted": YES, "rejected": NO}
    assert read_as_conversations(write({"interactions": [HELLO, pair], "system": "s"})).items == (
        Conversation((Interaction("hello", "hi"), Interaction("q", "yes")), "s"),
    )
    assert read_as_interactions(write({"interactions": [HELLO, pair]})).items == (
        Interaction("hello", "hi"),
        Interaction("q", "yes"),
    )
    plain = write({"interactions": [HELLO]})
    assert read_as_conversations(plain).items == read_conversations(plain).items
    with pytest.raises(UserError, match=r"chat\.jsonl:1: interactions: missing"):
        read_as_conversations(write({"text": "t"}))


def test_keys_no_format_knows_are_counted(write: Callable[..., Path]) -> None:
    path = write({"interactions": [HELLO], "topic": "greeting", "id": 3}, {"interactions": [BYE], "topic": "greeting"})
    assert read_conversations(path).ignored_keys == {"topic": 2, "id": 1}
    assert read_conversations(write({"interactions": [HELLO], "topic": None})).ignored_keys == {}


# What people have.


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hello"}]},
                {"role": "assistant", "content": "hi"},
            ]
        },
        {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]},
    ],
)
def test_messages_are_conversations(write: Callable[..., Path], record: dict[str, Any]) -> None:
    assert read_conversations(write(record)).items == (Conversation((Interaction("hello", "hi"),)),)
    assert read_as_interactions(write(record)).items == (Interaction("hello", "hi"),)
    assert read_as_texts(write(record)).items == (TextRecord("hello\nhi"),)


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_messages_of_one_role_in_a_row_are_joined_and_the_system_comes_first(write: Callable[..., Path]) -> None:
    said = [
        message("system", "be kind"),
        message("developer", "be short"),
        message("user", "hello"),
        message("user", "anyone?"),
        message("assistant", "hi"),
        message("assistant", "there"),
    ]
    (found,) = read_conversations(write({"messages": said}))
    assert found == Conversation((Interaction("hello\nanyone?", "hi\nthere"),), "be kind\nbe short")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([message("assistant", "hi")], r"messages\[0\]\.role: an answer without a question"),
        (
            [message("user", "a"), message("assistant", "b"), message("user", "c")],
            r"messages\[2\]\.role: a question without",
        ),
        (
            [message("user", "a"), message("system", "b"), message("assistant", "c")],
            r"messages\[1\]\.role: a system message",
        ),
        ([message("system", "a")], "nobody asks"),
        ([message("tool", "a")], r"messages\[0\]\.role: 'tool' cannot be read"),
        ([message("user", None)], r"messages\[0\]\.content: missing"),
        ([message("user", [{"type": "image_url"}])], r"messages\[0\]\.content\[0\]: only parts of type text"),
        ([], "messages: the conversation is empty"),
    ],
)
def test_messages_that_cannot_be_paired_are_named(write: Callable[..., Path], said: list[Any], problem: str) -> None:
    with pytest.raises(UserError, match=r"chat\.jsonl:1: .*" + problem):
        read_conversations(write({"messages": said}))


def test_an_answer_of_weight_0_is_not_learned(write: Callable[..., Path]) -> None:
    said = [
        message("user", "a") | {"weight": 0},
        message("assistant", "b") | {"weight": 0},
        message("user", "c"),
        message("assistant", "d") | {"weight": 1.0},
        message("user", "e"),
        message("assistant", "f") | {"weight": None},
        message("user", "g"),
        message("assistant", "h"),
        message("assistant", "i") | {"weight": 0},
    ]
    path = write({"messages": said})
    turns = tuple(Interaction(*pair) for pair in (("a", "b"), ("c", "d"), ("e", "f"), ("g", "h\ni")))
    assert read_conversations(path).items == (Conversation(turns, unlearned=frozenset({0, 3})),)
    assert read_as_interactions(path).items == turns[1:3]
    assert [record.text for record in read_as_texts(path)] == ["c\nd", "e\nf"]
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0}]
    assert read_conversations(write({"conversations": shared}))[0].unlearned == {0}


@pytest.mark.parametrize("weight", [0.5, True, "0", []])
def test_other_weights_are_refused(write: Callable[..., Path], weight: Any) -> None:
    said = [message("user", "a"), message("assistant", "b") | {"weight": weight}]
    with pytest.raises(UserError, match=r":1: messages\[1\]\.weight: must be 0 \(not learned\) or 1, found"):
        read_conversations(write({"messages": said}))


def test_what_is_not_read_of_messages_is_counted(write: Callable[..., Path]) -> None:
    call = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    calling = [message("user", "a"), message("assistant", "b") | {"tool_calls": call, "refusal": None}]
    plain = [message("user", "a") | {"name": "Ann"}, message("assistant", "b") | {"tool_calls": []}]
    found = read_conversations(write({"messages": calling, "id": 1}, {"messages": calling * 2}, {"messages": plain}))
    assert found[0] == Conversation((Interaction("a", "b"),))
    assert found.ignored_keys == {"id": 1, "messages[].tool_calls": 2, "messages[].name": 1}
    with pytest.raises(UserError, match=r":1: messages\[1\]\.content: missing; a message of tool calls alone"):
        read_conversations(write({"messages": [calling[0], calling[1] | {"content": None}]}))


def test_two_system_prompts_are_named_instead_of_losing_one(write: Callable[..., Path]) -> None:
    said = [{"from": "system", "value": "be kind"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    (found,) = read_conversations(write({"conversations": said[1:], "system": "be kind"}))
    assert found == Conversation((Interaction("q", "a"),), "be kind")
    with pytest.raises(UserError, match=r":1: conversations\[0\]\.from: .* beside the key system"):
        read_conversations(write({"conversations": said, "system": "be short"}))


def test_alpaca_and_completions_are_interactions(write: Callable[..., Path]) -> None:
    path = write(
        {"instruction": "Add", "input": "1 and 2", "output": "3"},
        {"instruction": "Say hi", "input": "", "output": "hi"},
        {"prompt": "hello", "completion": "hi"},
    )
    assert read_interactions(path).items == (
        Interaction("Add\n1 and 2", "3"),
        Interaction("Say hi", "hi"),
        Interaction("hello", "hi"),
    )
    with pytest.raises(UserError, match="output: missing"):
        read_interactions(write({"instruction": "Add"}))


def test_a_record_of_another_kind_is_called_by_it(write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r":1: .* of the kind text; conversations are needed here; .* with --text\)$"):
        read_conversations(write({"text": "t"}))
    with pytest.raises(
        UserError, match=r":1: .* of the kind interactions; conversations are needed here; .* with --interactions\)$"
    ):
        read_as_conversations(write({"instruction": "Add", "output": "3"}))
    with pytest.raises(UserError, match=r":1: .* of the kind conversations; text is needed here; .* with --data\)$"):
        read_texts(write({"interactions": [HELLO]}))


# Containers.


def test_gzip_is_known_by_content_not_by_name(write: Callable[..., Path]) -> None:
    plain_named_gz = write(GOOD, name="plain.jsonl.gz")
    zipped = write(gzip.compress(GOOD), name="zipped.jsonl", ending=b"")
    assert read_conversations(plain_named_gz).items == read_conversations(zipped).items


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_mark_of_order_blank_lines_and_line_ends(write: Callable[..., Path], ending: bytes) -> None:
    path = write(b"\xef\xbb\xbf" + GOOD, b"", b"  \t", GOOD, b"nonsense", ending=ending)
    found = read_conversations(path, on_bad="skip")
    assert (len(found), found.read, found.skipped) == (2, 3, 1)
    assert found.reasons[0].startswith(f"{path}:5: "), "blank lines count as lines, not as records"


def test_line_separators_inside_a_string_do_not_end_the_record(write: Callable[..., Path]) -> None:
    path = write('{"text": "a\u2028b\u0085c"}'.encode())
    assert read_texts(path).items == (TextRecord("a\u2028b\u0085c"),)


def test_last_line_without_line_end(write: Callable[..., Path]) -> None:
    assert len(read_conversations(write(GOOD + b"\n" + GOOD, ending=b""))) == 2


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "chat.data"  # known by content
    rows = [
        {"interactions": [HELLO, {**BYE, "think": "leaving"}]},
        {"interactions": [HELLO], "system": "s"},
        {"interactions": []},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = read_conversations(path, on_bad="skip")
    assert found.items[0].interactions == (Interaction("hello", "hi"), Interaction("bye", "see you", think="leaving"))
    assert found.reasons == (f"{path}:3: interactions: the conversation is empty",)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"chat\.data: the Parquet file is cut off or damaged"):
        read_conversations(path)


def test_parquet_without_pyarrow(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'pip install "reactive-transformers\[data\]"'):
        read_texts(write(b"PAR1..."))


# Whole files that cannot be used.


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file$"):
        read_texts(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match=r"^data/nowhere\.jsonl: no such file$"):
        read_texts("data/nowhere.jsonl")


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("none here")
    with pytest.raises(UserError, match="is a folder that holds no JSON Lines, JSON, Parquet, CSV or text file"):
        read_texts(tmp_path)
    with pytest.raises(UserError, match="no file has such a name"):
        read_texts(f"{tmp_path}/*.jsonl")


def test_folders_and_globs_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, text in (("b.jsonl", "two"), ("a.jsonl", "one"), ("deep/c.jsonl", "three")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"text": text}))
    assert [record.text for record in read_texts(tmp_path)] == ["one", "two", "three"]
    assert [record.text for record in read_texts(f"{tmp_path}/*.jsonl")] == ["one", "two"]
    (tmp_path / "b.jsonl").write_text("nonsense")
    with pytest.raises(UserError, match=r"b\.jsonl:1: not JSON"):
        read_texts(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_like_lines(tmp_path: Path, packed: bool, indent: int | None) -> None:
    content = json.dumps([{"instruction": "Add", "output": "3"}, {"instruction": "Sub"}], indent=indent).encode()
    path = tmp_path / "alpaca.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_interactions(path, on_bad="skip")
    assert found.items == (Interaction("Add", "3"),)
    assert found.reasons == (f"{path}[1]: output: missing",)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf \n"])
def test_one_json_object_is_one_record(tmp_path: Path, packed: bool, begin: bytes) -> None:
    content = begin + json.dumps({"interactions": [HELLO, BYE]}, indent=2).encode()
    path = tmp_path / "chat.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    (found,) = read_conversations(path)
    assert [turn.answer for turn in found.interactions] == ["hi", "see you"]
    path.write_text(json.dumps({"interactions": [{"query": "q"}]}, indent=2))
    with pytest.raises(UserError, match=r"chat\.json: interactions\[0\]\.answer: missing"):
        read_conversations(path)


def test_indented_objects_after_one_another_are_told_what_to_become(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({"interactions": [HELLO]}, indent=2) * 2)
    with pytest.raises(UserError, match=r"chat\.json:1: not JSON: .* write one JSON object a line"):
        read_conversations(path)


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("one\ngoes on\n\n\ntwo\n", {1: "one\ngoes on", 5: "two"}),
        ("\n\none", {3: "one"}),
        ("one\n\ngoes on\n<|endoftext|>\ntwo\n<|endoftext|>\n", {1: "one\n\ngoes on", 5: "two"}),
        ("one<|endoftext|>two<|endoftext|>", {1: "one", 2: "two"}),
    ],
)
def test_plain_text_is_documents(tmp_path: Path, content: str, documents: dict[int, str]) -> None:
    path = tmp_path / "stories.txt"
    path.write_text(content)
    assert [record.text for record in read_texts(path)] == list(documents.values())
    with pytest.raises(UserError, match=rf"stories\.txt:{next(iter(documents))}: .* of the kind text"):
        read_conversations(path)


def test_the_time_for_a_long_document_grows_with_its_length_alone(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    line = "x" * 99 + "\n"
    path.write_text(line * 200_000)
    began = time.process_time()
    (found,) = read_texts(path)
    assert time.process_time() - began < 30, "a copy of the document for each line takes minutes"
    assert found.text == (line * 200_000).strip()


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")])
def test_empty_file(write: Callable[..., Path], content: bytes) -> None:
    path = write(content, ending=b"")
    for read in (read_conversations, detect_format):
        with pytest.raises(UserError, match=r"chat\.jsonl: holds no record$"):
            read(path)


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:30] + b"\xff\xff\xff\xff" + data[34:]]
)
def test_damaged_gzip_is_never_half_read(
    write: Callable[..., Path], on_bad: Any, damage: Callable[[bytes], bytes]
) -> None:
    lines = b"".join(json.dumps({"text": f"number {i} {i * i}"}).encode() + b"\n" for i in range(500))
    path = write(damage(gzip.compress(lines)), ending=b"")
    with pytest.raises(UserError, match=r"chat\.jsonl: the gzip file is cut off or damaged"):
        read_texts(path, on_bad)


def test_file_that_may_not_be_read(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(GOOD)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"chat\.jsonl: cannot be read \(Permission denied\)"):
        read_conversations(path)


# Bad records.

TEXT_CASES = [
    (b"{not json}", r"not JSON \(.* at column 2\); a file holds one JSON object a line"),
    (b"[" * 100_000, "not JSON"),
    (b'{"text": "\xff"}', r"not UTF-8 \(byte 0xff at 10\)"),
    (b'\xff\xfe{\x00"\x00', r"not UTF-8 \(byte 0xff at 0\)"),
    ([{"text": "in a list"}], "must be an object with keys, found a list"),
    (None, "must be an object with keys, found null"),
    ({"txt": "a"}, "text: missing"),
    ({"text": None}, "text: missing"),
    ({"text": 3}, "text: must be a string, found a number"),
    ({"text": " \n"}, "text: empty"),
    ({"text": "\ud83d"}, "text: holds half of a surrogate pair"),
]
INTERACTION_CASES = [
    ({"query": "q"}, "answer: missing"),
    ({"answer": "a"}, "query: missing"),
    ({"query": "", "answer": "a"}, "query: empty"),
    ({"query": "q", "answer": " "}, "answer: empty"),
    ({"query": ["q"], "answer": "a"}, "query: must be a string, found a list"),
    ({"query": "q", "answer": "a", "think": True}, "think: must be a string, found true or false"),
    ({"query": "q", "answer": "a", "tool_call": {"name": "f"}}, "tool_call: must be a string, found an object"),
    ({"query": "q", "answer": "a", "tool_use": "u"}, "tool_use: stands beside a query"),
]
CONVERSATION_CASES = [
    ({"system": "s"}, "interactions: missing"),
    ({"interactions": []}, "interactions: the conversation is empty"),
    ({"interactions": {"query": "q"}}, "interactions: must be a list, found an object"),
    ({"interactions": [HELLO, "bye"]}, r"interactions\[1\]: must be an object, found a string"),
    ({"interactions": [HELLO, {"query": "q"}]}, r"interactions\[1\]\.answer: missing"),
    ({"interactions": [{**HELLO, "thnik": "t"}]}, r"interactions\[0\]\.thnik: unknown key; known are query, answer"),
    ({"interactions": [HELLO], "system": 1}, "system: must be a string, found a number"),
    ({"query": "q", "interactions": [HELLO]}, "answer: missing"),
    ({**HELLO, "interactions": [HELLO, {"answer": "a"}]}, r"interactions\[1\]\.query: missing"),
]
YES, NO = {"answer": "yes"}, {"answer": "no"}
PREFERENCE_CASES = [
    ({"interactions": []}, "interactions: the conversation is empty"),
    ({"interactions": [{"query": "q", "accepted": YES}]}, r"interactions\[0\]\.rejected: missing"),
    ({"interactions": [{"accepted": YES, "rejected": NO}]}, r"interactions\[0\]\.query: missing"),
    (
        {"interactions": [{"query": "q", "accepted": "yes", "rejected": NO}]},
        r"interactions\[0\]\.accepted: must be an object, found a string",
    ),
    (
        {"interactions": [{"query": "q", "accepted": YES, "rejected": {}}]},
        r"interactions\[0\]\.rejected\.answer: missing",
    ),
    (
        {"interactions": [{"query": "q", "accepted": YES, "rejected": NO, "neutral": {"answer": 1}}]},
        r".*neutral\.answer: must be a string",
    ),
    (
        {"interactions": [{"query": "q", "accepted": {**YES, "score": 1}, "rejected": NO}]},
        r".*accepted\.score: unknown key",
    ),
    (
        {"interactions": [{"query": "q", "answer": "a", "accepted": YES, "rejected": NO}]},
        r"interactions\[0\]\.answer: unknown key",
    ),
    ({"interactions": [{"query": "q", "answer": "a", "rejected": NO}]}, r"interactions\[0\]\.answer: unknown key"),
    ({"interactions": [{"query": "q", "rejected": NO}]}, r"interactions\[0\]\.accepted: missing"),
    ({"interactions": [{"query": "q"}]}, r"interactions\[0\]\.accepted: missing"),
    (
        {"interactions": [{"query": "q", "accepted": YES, "rejected": YES}]},
        r"interactions\[0\]\.rejected: the same as accepted",
    ),
    ({"interactions": [{"query": "q", "answer": "a"}]}, "interactions: no turn has an accepted and a rejected answer"),
    (
        {"interactions": [{"query": "q", "accepted": YES, "rejected": NO}, {"query": "q", "answer": "a", "score": 1}]},
        r".*score: unknown key",
    ),
]
ALL_CASES = [
    *((read_texts, {"text": "good"}, *case) for case in TEXT_CASES),
    *((read_interactions, HELLO, *case) for case in INTERACTION_CASES),
    *((read_conversations, {"interactions": [HELLO]}, *case) for case in CONVERSATION_CASES),
    *(
        (read_preferences, {"interactions": [{"query": "q", "accepted": YES, "rejected": NO}]}, *case)
        for case in PREFERENCE_CASES
    ),
]


@pytest.mark.parametrize(("read", "good", "bad", "problem"), ALL_CASES)
def test_bad_record(
    write: Callable[..., Path], read: Callable[..., Records[Any]], good: Any, bad: Any, problem: str
) -> None:
    path = write(good, bad, good)
    with pytest.raises(UserError, match=rf"chat\.jsonl:2: {problem}") as stopped:
        read(path)
    assert "\n" not in str(stopped.value)
    found = read(path, on_bad="skip")
    assert (len(found), found.skipped, found.read) == (2, 1, 3)
    assert found.reasons == (str(stopped.value),)
    assert found.summary == f"{path}: 3 records, 1 skipped (first: {stopped.value})"


def test_nothing_but_bad_records_is_an_error(write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"all 2 records are bad, the first: .*chat\.jsonl:1: text: missing"):
        read_texts(write(HELLO, BYE), on_bad="skip")


def test_all_skips_are_counted_though_few_are_remembered(write: Callable[..., Path]) -> None:
    found = read_texts(write({"text": "good"}, *[{"text": 1}] * 150), on_bad="skip")
    assert (found.skipped, found.read, len(found.reasons)) == (150, 151, 100)


# One format read as another.


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"text": "t"}, "text"),
        (HELLO, "interactions"),
        ({"interactions": [HELLO]}, "conversations"),
        ({**HELLO, "interactions": [BYE]}, "conversations"),
        ({"interactions": [{"query": "q", "accepted": YES, "rejected": NO}]}, "preferences"),
    ],
)
def test_detect_format(write: Callable[..., Path], record: Any, expected: str) -> None:
    assert detect_format(write(record)) == expected
    assert detect_format(write(b"nonsense", {"other": 1}, record)) == expected


def test_detect_format_of_something_else(write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"chat\.jsonl:2: of no known format"):
        detect_format(write(b"", {"other": 1}))


def test_conversations_serve_the_stages_without_memory(write: Callable[..., Path]) -> None:
    path = write(
        {"interactions": [HELLO, BYE], "system": "s"}, {"interactions": [{"query": "q"}]}, {"interactions": [HELLO]}
    )
    as_interactions = read_as_interactions(path, on_bad="skip")
    assert [interaction.query for interaction in as_interactions] == ["hello", "bye", "hello"]
    assert as_interactions.skipped == 1, "what was skipped stays counted"
    assert [record.text for record in read_as_texts(path, on_bad="skip")] == ["hello\nhi", "bye\nsee you", "hello\nhi"]
    assert read_as_texts(write({"text": "t"})).items == (TextRecord("t"),)


def test_texts_are_no_interactions(write: Callable[..., Path]) -> None:
    with pytest.raises(
        UserError, match=r"holds text; interactions or conversations are needed here; rxt train takes text with --text$"
    ):
        read_as_interactions(write({"text": "t"}))


def test_interaction_text_keeps_every_part_in_the_order_of_the_template() -> None:
    assert interaction_text(Interaction("q", "a", think="t", tool_call="c", internal="i")).text == "i\nq\nt\na\nc"
    assert interaction_text(Interaction("", "a", tool_use="u")).text == "u\na"
    turns = (Interaction("q", "a"),)
    assert conversation_interactions(Conversation(turns)) == turns


# The hub.


def fake_hub(monkeypatch: pytest.MonkeyPatch, folder: Path | Exception) -> None:
    """A hub that holds one data set, org/name, with the files of ``folder``; or one that only fails."""

    class Api:
        def dataset_info(self, repo: str, timeout: float) -> SimpleNamespace:
            if isinstance(folder, Exception):
                raise folder
            assert repo == "org/name"
            names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def download(repo: str, name: str, repo_type: str) -> str:
        assert (repo, repo_type) == ("org/name", "dataset")
        return str(folder / name)  # type: ignore[operator]

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api, hf_hub_download=download))


def test_hub_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub" / "data"
    hub.mkdir(parents=True)
    (hub / "train-0.jsonl").write_text('{"text": "a"}\n')
    (hub / "train-1.jsonl").write_text('{"text": "b"}\n{"text": 1}\n')
    (hub / "test-0.jsonl").write_text('{"text": "c"}\n')
    fake_hub(monkeypatch, tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    found = read_texts("org/name", on_bad="skip")
    assert [record.text for record in found] == ["a", "b"]
    assert found.reasons == ("org/name/data/train-1.jsonl:2: text: must be a string, found a number",)
    assert [record.text for record in read_texts("org/name:test")] == ["c"]
    with pytest.raises(
        UserError, match=r"org/name:dev: no data file of split 'dev'; the data set holds data/test-0\.jsonl"
    ):
        read_texts("org/name:dev")


def test_hub_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(repo: str, subset: str | None, split: str, revision: str, streaming: bool) -> Any:
        asked.append((repo, subset, split, revision, streaming))
        yield {"text": "one"}
        yield {"text": 2}
        if split == "broken":
            raise ConnectionError("gone")

    class Api:
        def dataset_info(self, repo: str, timeout: float) -> SimpleNamespace:
            return SimpleNamespace(sha="abc")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    found = read_texts("stream:org/name:pl:test", on_bad="skip")
    assert found.items == (TextRecord("one"),)
    assert found.reasons == ("stream:org/name:pl:test[1]: text: must be a string, found a number",)
    assert asked[-1] == ("org/name", "pl", "test", "abc", True)
    with pytest.raises(UserError, match=r"stream:org/name:broken: cannot be read \(ConnectionError: gone\)"):
        read_texts("stream:org/name:broken", on_bad="skip")
    index = prepare(["stream:org/name"], tiny_tokenizer(), tmp_path / "out", on_bad="skip")
    assert (index.documents, index.plan.files[0].ends_sha256) == (1, "abc")
    with pytest.raises(UserError, match="write stream:org/name:subset:split"):
        read_texts("stream:name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the datasets package: pip install .*\[datasets\]"):
        read_texts("stream:org/name")


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_hub(monkeypatch, ConnectionError("offline\nmore"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"^org/name: no such file here, and the hub gave no data set .*ConnectionError: offline\)$"
    ):
        read_texts("org/name")


@pytest.mark.parametrize("source", ["chat", "a/b/c", "../chat", "org/name:", "/org/name", "org/chat.txt"])
def test_what_is_no_hub_id_is_a_missing_file(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_download", None)
    with pytest.raises(UserError, match=r": no such file$"):
        read_texts(source)


def test_hub_files_of_a_split() -> None:
    names = ["README.md", "en/train-0.parquet", "en/test-0.parquet", "pl/train-0.parquet", "pl/training.txt"]
    assert choose_hub_files(names, "o/n", "pl", "train") == ["pl/train-0.parquet"]
    with pytest.raises(UserError, match=r"several subsets \(en, pl\); name one as org/name:subset:train"):
        choose_hub_files(names, "o/n", None, "train")
    assert choose_hub_files(["b.jsonl", "a.jsonl.gz"], "o/n", None, "train") == ["a.jsonl.gz", "b.jsonl"]
    with pytest.raises(UserError, match="no JSON Lines or Parquet files"):
        choose_hub_files(["README.md"], "o/n", None, "train")


def test_hub_id_with_subset_and_split() -> None:
    match = sources.HUB_ID.fullmatch("org/name:pl:test")
    assert match is not None
    assert match.groupdict() == {"repo": "org/name", "subset": "pl", "split": "test"}
