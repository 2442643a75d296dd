"""Prepared folders: the same tokens as the files have, whoever wrote them and however often that was stopped."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from factories import tiny_tokenizer
from rxt.config import Marker, Markers, SpecialTokens
from rxt.data.encoding import encode_conversation
from rxt.data.markup import Markup, Part
from rxt.data.prepared import folder
from rxt.data.prepared.conversations import Pieces, Single, all_conversations
from rxt.data.prepared.folder import PreparedFolder, Split
from rxt.data.prepared.index import INDEX, UNLIMITED, Index, ShardNote
from rxt.data.prepared.mapped import Mapped
from rxt.data.prepared.packing import PackedRows
from rxt.data.prepared.prepare import prepare
from rxt.data.prepared.report import describe, samples
from rxt.data.prepared.shard import Shard
from rxt.data.readers import read_conversations, read_rows
from rxt.data.records import Interaction
from rxt.data.shuffle import permuted, shuffled
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.training.file_sources import pack

LENGTH = 24


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def texts(count: int) -> list[str]:
    return [f"Text {number} of some. " * (1 + number % 5) for number in range(count)]


def talk(name: int) -> dict[str, Any]:
    """A conversation of one to seven turns, of which some are not to be learned."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"be kind {name}"}] if name % 3 == 0 else []
    for turn in range(1 + name % 7):
        messages.append({"role": "user", "content": f"{name} asks {turn}"})
        messages.append({"role": "assistant", "content": f"says {name}", "weight": int((name + turn) % 4 > 0)})
    return {"messages": messages}


def talks(path: Path, count: int = 120, **options: Any) -> PreparedFolder:
    source = write(path / "talks.jsonl", [talk(name) for name in range(count)])
    prepare([source], tiny_tokenizer("beta"), path / "out", **options)
    return PreparedFolder.open(path / "out")


def whole() -> Template:
    return Template(tiny_tokenizer("beta"), "beta", UNLIMITED)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 65, 1000])
def test_every_epoch_has_every_number_once_in_an_order_of_its_own(count: int) -> None:
    numbers = list(shuffled(count, 0, 3 * count, "salt"))
    epochs = [numbers[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert count < 7 or len({tuple(epoch) for epoch in epochs}) == 3
    assert list(shuffled(count, 5, 3, "salt")) == (numbers * 2)[5:8] or count < 3


def test_a_permutation_leaves_few_neighbours_together() -> None:
    places = [permuted(index, 4096, "salt") for index in range(4096)]
    steps = np.abs(np.diff(places))
    assert (steps < 41).mean() < 0.03, "a random permutation has 2 % of its neighbours so near"
    assert abs(np.corrcoef(places, np.arange(4096))[0, 1]) < 0.06


def test_texts_are_packed_as_they_would_be_without_shards(tmp_path: Path) -> None:
    written = texts(120)
    source = write(tmp_path / "a.jsonl", [{"text": text} for text in written])
    prepare([source], tiny_tokenizer(), tmp_path / "out", shard_characters=600)
    folder = PreparedFolder.open(tmp_path / "out")
    assert len(folder.notes) > 3
    template = Template(tiny_tokenizer(), "alpha", LENGTH)
    cases: tuple[tuple[Split, list[str]], ...] = (("all", written), ("validation", written[::50]))
    for split, chosen in cases:
        rows = PackedRows.of(folder, split, LENGTH)
        found = [rows[number] for number in range(len(rows))]
        assert [token for row in found for token in row.ids] == [
            token for text in chosen for piece in template.text(text) for token in piece.ids
        ]
        assert max(len(row.ids) for row in found) <= LENGTH
        for row in found:
            assert [token == template.tokens.bos for token in row.ids] == [not learned for learned in row.loss]
    train, held = PackedRows.of(folder, "train", LENGTH), PackedRows.of(folder, "validation", LENGTH)
    assert len(train) < len(PackedRows.of(folder, "all", LENGTH)) <= len(train) + len(held) + len(folder.notes)
    full = sum(len(train[number].ids) for number in range(len(train))) / len(train) / LENGTH
    assert full > 0.7, "rows are filled"


def test_a_folder_that_may_only_be_read_has_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "a.jsonl", [{"text": text} for text in texts(30)])
    prepare([source], tiny_tokenizer(), tmp_path / "out")
    folder = PreparedFolder.open(tmp_path / "out")

    def refuse(path: Path, write: Callable[[IO[bytes]], None]) -> None:
        raise UserError(f"{path}: read-only")

    with monkeypatch.context() as patch:
        patch.setattr("rxt.data.prepared.packing.write_in_parts", refuse)
        unwritten = PackedRows.of(folder, "train", LENGTH)
    written = PackedRows.of(folder, "train", LENGTH)
    assert (tmp_path / "out" / f"rows-{LENGTH}-train.npy").exists()
    assert [unwritten[number] for number in range(len(written))] == [written[number] for number in range(len(written))]


def test_conversations_are_the_tokens_and_the_text_of_the_files(tmp_path: Path) -> None:
    folder = talks(tmp_path, shard_characters=900)
    records = read_conversations(tmp_path / "talks.jsonl")
    pieces = all_conversations(folder, "all")
    assert len(folder.notes) > 3
    assert len(pieces) == len(records) == 120
    for number, record in enumerate(records):
        assert pieces[number].sequences == encode_conversation(record, whole())
        assert pieces[number].conversation == record


@pytest.mark.parametrize("turns", [1, 3, 99])
@pytest.mark.parametrize("shortest", [1, 2])
def test_pieces_are_the_turns_of_each_conversation_in_order(tmp_path: Path, turns: int, shortest: int) -> None:
    folder = talks(tmp_path, shard_characters=900)
    held = list(read_conversations(tmp_path / "talks.jsonl"))[::50]
    expected = [
        (each.system, each.interactions[start : start + turns])
        for each in held
        for start in range(0, len(each.interactions), turns)
    ]
    pieces = Pieces.of(folder, "validation", turns, shortest)
    found = [pieces[number].conversation for number in range(len(pieces))]
    assert [(each.system, each.interactions) for each in found] == [
        (system, said) for system, said in expected if len(said) >= shortest
    ]


def test_single_interactions_are_those_to_learn(tmp_path: Path) -> None:
    folder = talks(tmp_path, shard_characters=900)
    single = Single.of(folder, "train")
    records = [each for index, each in enumerate(read_conversations(tmp_path / "talks.jsonl")) if index % 50]
    expected = [
        whole().interaction(said)
        for each in records
        for turn, said in enumerate(each.interactions)
        if turn not in each.unlearned
    ]
    assert [single[number] for number in range(len(single))] == expected


def sums(index: Index) -> list[tuple[str, str]]:
    return [(file.name, file.sha256) for shard in index.shards for file in shard.files]


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [talk(name) for name in range(60)])
    one = prepare([source], tiny_tokenizer("beta"), tmp_path / "one", shard_characters=900)
    two = prepare([source], tiny_tokenizer("beta"), tmp_path / "two", shard_characters=900, workers=2)
    assert len(one.shards) > 3
    assert one == two


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [talk(name) for name in range(60)])
    out = tmp_path / "out"

    def stop(note: ShardNote) -> None:
        if note.name == "00002":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([source], tiny_tokenizer("beta"), out, shard_characters=900, report=stop)
    with pytest.raises(UserError, match="not prepared to its end"):
        PreparedFolder.open(out)
    written: list[str] = []
    index = prepare(
        [source], tiny_tokenizer("beta"), out, shard_characters=900, report=lambda note: written.append(note.name)
    )
    assert written[0] == "00003"
    assert index == prepare([source], tiny_tokenizer("beta"), tmp_path / "other", shard_characters=900)
    assert prepare([source], tiny_tokenizer("beta"), out, shard_characters=900, report=stop) == index


def test_another_preparation_is_not_written_over(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [talk(name) for name in range(3)])
    out = tmp_path / "out"
    prepare([source], tiny_tokenizer("beta"), out)
    with pytest.raises(UserError, match=r"prepared otherwise \(kind differ"):
        prepare([source], tiny_tokenizer("beta"), out, "text")
    write(tmp_path / "a.jsonl", [talk(name) for name in range(4)])
    with pytest.raises(UserError, match=r"prepared otherwise \(files differ"):
        prepare([source], tiny_tokenizer("beta"), out)
    with pytest.raises(UserError, match=r"is not empty \(it holds a\.jsonl\)"):
        prepare([source], tiny_tokenizer("beta"), tmp_path)
    with pytest.raises(UserError, match="is data that is prepared already"):
        next(read_rows(out))


def test_bad_records_stop_or_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "one"}, {"text": 1}, {"text": "two"}, {"text": " "}, {"text": "three", "id": 3}]
    source = write(tmp_path / "a.jsonl", rows)
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"a\.jsonl:2: text: must be a string, found a number"):
            prepare([source], tiny_tokenizer(), tmp_path / f"stopped-{workers}", workers=workers)
    index = prepare([source], tiny_tokenizer(), tmp_path / "out", on_bad="skip")
    (shard,) = index.shards
    assert (shard.documents, shard.rows, shard.skipped, dict(shard.ignored_keys)) == (3, 5, 2, {"id": 1})
    assert shard.reasons[1] == f"{source}:4: text: empty"


def test_a_part_that_the_template_lacks_is_a_bad_record(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [talk(1), {"interactions": [{"query": "a", "answer": "b", "think": "c"}]}])
    with pytest.raises(UserError, match=r"a\.jsonl:2: the alpha template has no thinking part"):
        prepare([source], tiny_tokenizer(), tmp_path / "out")
    assert prepare([source], tiny_tokenizer(), tmp_path / "skipped", on_bad="skip").documents == 1


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    folder = talks(tmp_path, 5)
    tokens = tmp_path / "out" / "00000-tokens.npy"
    content = tokens.read_bytes()
    assert folder.verify() == []
    tokens.write_bytes(content[:-2] + b"zz")
    assert PreparedFolder.open(tmp_path / "out").verify() == [f"{tokens}: is not as it was written"]
    tokens.write_bytes(content[:-2])
    with pytest.raises(UserError, match=rf"00000-tokens\.npy: has {len(content) - 2} bytes instead of {len(content)}"):
        PreparedFolder.open(tmp_path / "out")
    tokens.unlink()
    with pytest.raises(UserError, match=r"00000-tokens\.npy: is missing"):
        PreparedFolder.open(tmp_path / "out")
    values = json.loads((tmp_path / "out" / INDEX).read_text())
    values["plan"]["version"] = 99
    (tmp_path / "out" / INDEX).write_text(json.dumps(values))
    with pytest.raises(UserError, match="its format is 99, this version reads 1"):
        PreparedFolder.open(tmp_path / "out")


def test_what_is_inside_is_told(tmp_path: Path) -> None:
    said = {"query": "hello", "answer": "hi there"}
    long = {"query": "tell me " * 20, "answer": "no"}
    prepare([write(tmp_path / "a.jsonl", [said, long])], tiny_tokenizer(), tmp_path / "out")
    folder = PreparedFolder.open(tmp_path / "out")
    lines = list(describe(folder, LENGTH))
    excess = len(Template(tiny_tokenizer(), "alpha", UNLIMITED).interaction(Interaction(**long)).ids) - LENGTH
    assert f"longer than {LENGTH} tokens: 1 of 2, by {excess} tokens in all" in lines
    shown = "\n".join(samples(folder, LENGTH, 9, 0))
    assert "[BOS][QUERY]hello[ANSWER]«hi there[EOS]»" in shown
    assert f"(cut: {LENGTH + excess} tokens)" in shown


def test_parts_are_found_again_whatever_the_markers() -> None:
    markers = Markers((), Marker((40, 41)), Marker((42, 43)), (2,))  # none of them special: they may stand in a text
    parts = [Part("query", [40, 42, 43, 9]), Part("answer", [42, 43, 41], False, True)]
    markup = Markup.of_base(markers, SpecialTokens(), "alpha")
    assert markup.parts_of(markup.whole(parts, 99)) == parts
    beta = Markup.of_tokens(tiny_tokenizer("beta").tokens, "beta")
    every = [Part("internal", [90]), Part("query", []), Part("think", [91, 92], True, True)]
    every += [Part("answer", [93], True, True), Part("tool_call", [94], True, True)]
    assert beta.parts_of(beta.whole(every, 99)) == every


def test_texts_of_a_vocabulary_without_a_beginning_are_packed(tmp_path: Path) -> None:
    markers = Markers((), Marker((40, 41)), Marker((42, 43)), (2,))
    source = write(tmp_path / "a.jsonl", [{"text": text} for text in texts(30)])
    prepare([source], tiny_tokenizer(), tmp_path / "out", markers=markers)
    template = Template(tiny_tokenizer(), "alpha", LENGTH, markers=markers)
    rows = PackedRows.of(PreparedFolder.open(tmp_path / "out"), "all", LENGTH)
    expected = pack(template, texts(30))
    assert [rows[number] for number in range(len(rows))] == expected


def test_few_bytes_are_mapped_however_many_shards_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "texts.jsonl", [{"text": text} for text in texts(60)])
    prepare([source], tiny_tokenizer("beta"), tmp_path / "out", shard_characters=200)
    opened = PreparedFolder.open(tmp_path / "out")
    numbers = [*range(len(opened.notes)), 0]
    of_each = [sum(file.size for file in note.files) for note in opened.notes]
    everything = [opened.shard(number).text(0) for number in numbers]

    monkeypatch.setattr(folder, "MAPPED", Mapped(3 * max(of_each)))
    held = list[weakref.ref[Shard]]()
    for number, text in zip(numbers, everything, strict=True):
        assert opened.shard(number).text(0) == text
        held.append(weakref.ref(opened.shard(number)))
        mapped = {id(shard) for reference in held if (shard := reference()) is not None}
        assert 1 <= len(mapped) <= 3 * max(of_each) / min(of_each)
    assert len(numbers) > 10
    assert held[-2]() is opened.shard(numbers[-2]), "what was asked for last stays"


def test_a_shard_larger_than_all_that_may_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = talks(tmp_path)
    expected = opened.shard(0).sequence(0)
    monkeypatch.setattr(folder, "MAPPED", Mapped(1))
    assert opened.shard(0).sequence(0) == expected
    assert opened.shard(0) is opened.shard(0)
