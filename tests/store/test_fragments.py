"""Fragments of pools in a store: each is there once, as long as a turn's memory has it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import make_dialogue, make_turn

from rxt.store.base import Lacking, Store
from rxt.store.copy import exported, imported, read_copy
from rxt.store.open import open_store
from rxt.store.records import Damaged, Retention, StoredFragment, Turn
from rxt.store.sqlite import SqliteStore

A, B, C, D = (StoredFragment.of(letter * 1000) for letter in (b"a", b"b", b"c", b"d"))


def names(*fragments: StoredFragment) -> list[str]:
    return [fragment.name for fragment in fragments]


def add(store: Store, *fragments: StoredFragment, new: tuple[StoredFragment, ...], parent: Turn | None = None) -> Turn:
    turn = make_turn(None if parent is None else parent.id)
    store.add([turn])
    store.memorize(turn.id, b"head", names(*fragments), new)
    return turn


def plain_bytes(*turns: Turn) -> int:
    return sum(len(turn.to_json()) + len(b"head") for turn in turns)


def test_they_come_back_in_their_order_and_are_kept_once(store: Store) -> None:
    first = add(store, A, B, A, new=(A, B))
    second = add(store, A, C, new=(C,), parent=first)
    assert store.memory(first.id) == b"head"
    assert store.fragments(first.id) == [A, B, A]
    assert store.fragments(second.id) == [A, C]
    assert store.fragments("resp_gone") == []
    assert store.stats().bytes == plain_bytes(first, second) + 3000
    assert store.verify() == []
    store.memorize("resp_gone", b"head", names(D), [D])
    assert store.stats().bytes == plain_bytes(first, second) + 3000


def test_they_go_with_the_last_turn_that_has_them(store: Store) -> None:
    first = add(store, A, B, new=(A, B))
    second = add(store, A, C, new=(C,), parent=first)
    store.delete_turn(first.id, "me")
    assert store.fragments(second.id) == [A, C]
    assert store.stats().bytes == plain_bytes(second) + 2000
    with pytest.raises(Lacking, match="a fragment of its memory is not in the store"):
        add(store, A, B, new=())
    store.delete_turn(second.id, "me")
    (unfinished,) = store.unfinished()
    store.delete_turn(unfinished.id, "me")
    assert store.stats().bytes == 0
    assert store.verify() == []


def test_they_go_with_a_conversation_and_with_what_is_pruned(store: Store) -> None:
    dialogue = make_dialogue(store)
    turn = make_turn(conversation=dialogue.id)
    store.add([turn], dialogue.id)
    store.memorize(turn.id, b"head", names(A), [A])
    other = add(store, B, new=(B,))
    last = add(store, B, C, new=(C,), parent=other)
    store.delete_dialogue(dialogue.id, "me")
    assert store.stats().bytes == plain_bytes(other, last) + 2000
    assert store.prune(Retention(turns=1), 10.0) == 1
    assert store.fragments(last.id) == [B, C]
    assert store.stats().bytes == plain_bytes(last) + 2000
    assert store.verify() == []


def test_what_newer_turns_need_counts_with_them_where_bytes_are_limited(store: Store) -> None:
    first = add(store, A, B, new=(A, B))
    second = add(store, A, C, new=(C,), parent=first)
    third = add(store, A, D, new=(D,), parent=second)
    assert store.prune(Retention(bytes=plain_bytes(second, third) + 3000), 10.0) == 1
    assert store.turn(first.id) is None
    assert store.stats().bytes == plain_bytes(second, third) + 3000
    assert store.prune(Retention(bytes=plain_bytes(second, third) + 2999), 10.0) == 1
    assert store.fragments(third.id) == [A, D]
    assert store.verify() == []


def test_memorized_again(store: Store) -> None:
    first = add(store, A, B, new=(A, B))
    for _ in range(2):
        store.memorize(first.id, b"head", names(A, B), [])
        assert store.fragments(first.id) == [A, B]
    store.memorize(first.id, b"head", names(A, C), [A, C])
    assert store.fragments(first.id) == [A, C]
    assert store.stats().bytes == plain_bytes(first) + 2000
    store.memorize(first.id, b"plain")
    assert store.fragments(first.id) == []
    assert store.stats().bytes == plain_bytes(first) + 1
    assert store.verify() == []


def test_a_memory_that_lacks_one_is_not_written(store: Store) -> None:
    turn = make_turn()
    store.add([turn])
    with pytest.raises(Lacking):
        store.memorize(turn.id, b"head", names(A, B), [A])
    assert store.memory(turn.id) is None
    assert store.unfinished() == [turn]
    assert store.stats().bytes == len(turn.to_json())


def test_damage_is_found(store: Store, where: str) -> None:
    first, second = add(store, A, B, new=(A, B)), add(store, A, C, new=(C,))
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(where, isolation_level=None)) as base:
            base.execute("UPDATE fragments SET content = zeroblob(1000) WHERE name = ?", (B.name,))
    else:
        import redis

        with redis.Redis.from_url(where) as client:
            client.execute_command("SET", f"rxt:fragment:{B.name}", b"0" * 1000)
    with pytest.raises(Damaged, match=f"{first.id}: a fragment of its memory in the store is damaged"):
        store.fragments(first.id)
    assert store.fragments(second.id) == [A, C]
    assert store.verify() == [f"{first.id}: a fragment of its memory in the store is damaged (its checksum is another)"]


@pytest.mark.parametrize("one", [True, False])
def test_exported_and_imported(store: Store, tmp_path: Path, one: bool) -> None:
    first = add(store, A, B, new=(A, B))
    second = add(store, A, C, A, new=(C,), parent=first)
    chosen = (second.id, second.id) if one else (None, None)
    lines = list(exported(store, *chosen, "me"))
    content = "\n".join(lines).encode()
    assert len(lines) == 2
    assert len(content) < 3 * 4 * 1000 / 3 + 4000, "each fragment is there once"
    with closing(open_store(str(tmp_path / "copy"))) as copy:
        for added in (2, 0):
            assert imported(copy, read_copy(content, "file")) == added
        assert copy.fragments(first.id) == [A, B]
        assert copy.fragments(second.id) == [A, C, A]
        assert copy.stats().bytes == pytest.approx(store.stats().bytes, abs=2), "a turn's status is part of its text"
        assert copy.verify() == []


def test_a_store_of_before_there_were_any_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(open_store(str(path))) as store:
        old = make_turn()
        store.add([old])
        store.memorize(old.id, b"plain")
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        for drop in ("TRIGGER fragment_unused", "TABLE uses", "TABLE fragments"):
            base.execute(f"DROP {drop}")
    with closing(open_store(str(path))) as store:
        assert store.memory(old.id) == b"plain"
        turn = add(store, A, new=(A,), parent=old)
        assert store.fragments(turn.id) == [A]
        assert store.verify() == []


@pytest.mark.parametrize("by", ["turn", "conversation", "pruning"])
def test_what_is_deleted_is_in_no_file(tmp_path: Path, by: str) -> None:
    secret, other = StoredFragment.of(b"secret fragment " * 2000), StoredFragment.of(b"another fragment " * 2000)
    with closing(open_store(str(tmp_path / "db"))) as store:
        dialogue = make_dialogue(store)
        turn = replace(make_turn(conversation=dialogue.id), query="secret query", owner="me")
        store.add([turn], dialogue.id)
        store.memorize(turn.id, b"secret head " * 500, [secret.name], [secret])
        kept = add(store, other, new=(other,))
        if by == "turn":
            store.delete_turn(turn.id, "me")
        elif by == "conversation":
            store.delete_dialogue(dialogue.id, "me")
        else:
            store.prune(Retention(turns=1), 10.0)
        for file in tmp_path.iterdir():
            content = file.read_bytes()
            assert b"secret" not in content, file.name
        assert store.fragments(kept.id) == [other]
