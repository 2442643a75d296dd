"""Memories of users in a store: one order of turns for all conversations of a user; deleted, nothing of it is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import make_dialogue, make_turn

from rxt.store.base import Moved, Outrun, StillHead, Store
from rxt.store.copy import exported, imported, read_copy
from rxt.store.open import open_store
from rxt.store.records import Retention, StoredFragment, Turn, UserMemory
from rxt.store.sqlite import SqliteStore

A, B = StoredFragment.of(b"a" * 1000), StoredFragment.of(b"b" * 1000)


def told(memory: UserMemory, parent: str | None = None, conversation: str | None = None) -> Turn:
    turn = make_turn(parent, memory.owner, conversation=conversation)
    return replace(turn, user=memory.user, follows=memory.head)


def anew(user: str = "ann", owner: str = "me") -> UserMemory:
    return UserMemory(owner, user, make_turn().fingerprint, 5.0, 5.0)


def found(store: Store, memory: UserMemory) -> UserMemory:
    now = store.user_memory(memory.owner, memory.user, memory.fingerprint)
    assert now is not None
    return now


def begun(store: Store, memory: UserMemory, turns: int = 1, fragments: Sequence[StoredFragment] = (A,)) -> list[Turn]:
    """That so many turns were told to, one after the other."""
    made = list[Turn]()
    for _ in range(turns):
        made.append(told(memory, made[-1].id if made else None))
        store.add(made[-1:], memory=memory)
        store.memorize(made[-1].id, b"head", [one.name for one in fragments], fragments)
        memory = found(store, memory)
    return made


def test_its_turns_have_one_order(store: Store) -> None:
    memory = anew()
    assert store.user_memory("me", "ann", memory.fingerprint) is None
    first, other = told(memory), told(memory)
    store.add([first], memory=memory)
    now = found(store, memory)
    assert (now.head, now.updated, now.created) == (first.id, first.created, 5.0)
    with pytest.raises(Outrun):
        store.add([other], memory=memory)
    assert store.turn(other.id) is None
    store.add([told(now)], memory=now)
    with pytest.raises(Outrun):
        store.add([other], memory=now)
    with pytest.raises(Outrun):
        store.add([other], memory=replace(found(store, memory), created=4.0))
    for stranger in (anew("bob"), anew(owner="you"), replace(anew(), fingerprint="other")):
        assert store.user_memory(stranger.owner, stranger.user, stranger.fingerprint) is None
    assert store.verify() == []


def test_a_turn_that_comes_too_late_leaves_its_conversation_as_it_is(store: Store) -> None:
    memory, dialogue = anew(), make_dialogue(store)
    begun(store, memory)
    with pytest.raises(Outrun):
        store.add([told(memory, conversation=dialogue.id)], dialogue.id, None, memory)
    with pytest.raises(Moved, match="went on elsewhere"):
        store.add([told(memory)], "conv_gone", None, found(store, memory))
    now = store.dialogue(dialogue.id)
    assert now is not None
    assert now.head is None
    assert store.stats().turns == 1


def test_who_follows_needs_the_memory(store: Store) -> None:
    memory = anew()
    (first,) = begun(store, memory)
    second = told(found(store, memory))
    store.add([second], memory=found(store, memory))
    assert store.children(first.id) == [second]
    assert store.prune(Retention(turns=0), 10.0) == 0, "what is not memorized yet stays, and what it needs"
    store.memorize(second.id, b"head", [A.name], [])
    assert store.children(first.id) == []
    assert store.prune(Retention(turns=1), 10.0) == 1
    assert found(store, memory).head == second.id
    assert store.prune(Retention(turns=0), 10.0) == 1
    assert store.user_memories() == []
    assert store.verify() == []


def test_its_newest_turn_is_not_forgotten_by_the_way(store: Store) -> None:
    memory, dialogue = anew(), make_dialogue(store)
    turn = told(memory, conversation=dialogue.id)
    store.add([turn], dialogue.id, None, memory)
    for forget in (
        lambda: store.delete_turn(turn.id, "me"),
        lambda: store.delete_dialogue(dialogue.id, "me"),
    ):
        with pytest.raises(StillHead) as error:
            forget()
        assert error.value.memory == found(store, memory)
        assert store.turn(turn.id) == turn
        assert store.dialogue(dialogue.id) is not None
    mark = told(found(store, memory))
    store.add([mark], memory=found(store, memory))
    assert store.delete_dialogue(dialogue.id, "me")
    assert found(store, memory).head == mark.id


def test_deleted_it_leaves_nothing(store: Store, where: str) -> None:
    memory, dialogue, other, mine = anew(), make_dialogue(store), make_dialogue(store), make_dialogue(store)
    turns = begun(store, memory, 3)
    secret = replace(told(found(store, memory), conversation=dialogue.id), query="the cat is called Quetzalcoatl")
    store.add([secret], dialogue.id, None, found(store, memory))
    store.put(replace(other, head=turns[-1].id))
    stays = [*begun(store, anew("bob"), fragments=(B,)), *begun(store, anew(owner="you"), fragments=(B,)), make_turn()]
    store.add(stays[-1:], mine.id, None)
    assert sorted(store.delete_user_memory("me", "ann")) == sorted([*(turn.id for turn in turns), secret.id])
    assert set(store.scan()) == {turn.id for turn in stays}
    assert {memory.owner + memory.user for memory in store.user_memories()} == {"mebob", "youann"}
    assert [each.id for each in store.dialogues()] == [mine.id]
    assert store.stats().bytes == sum(len(turn.to_json()) for turn in stays) + 2 * len(b"head") + 1000
    assert store.verify() == []
    assert store.delete_user_memory("me", "ann") == []
    if isinstance(store, SqliteStore):
        files = [path.read_bytes() for path in Path(where).parent.iterdir() if path.is_file()]
        assert all(word not in content for content in files for word in (b"Quetzalcoatl", A.content))
        assert any(B.content in content for content in files), "the others' is there"


def test_what_was_deleted_does_not_go_on(store: Store) -> None:
    memory = anew()
    begun(store, memory)
    before = found(store, memory)
    store.delete_user_memory("me", "ann")
    with pytest.raises(Outrun):
        store.add([told(before)], memory=before)
    assert store.stats().turns == 0
    begun(store, replace(memory, created=6.0))
    with pytest.raises(Outrun):
        store.add([told(before)], memory=before)


def test_exported_and_imported(store: Store, tmp_path: Path) -> None:
    memory = anew()
    turns = begun(store, memory, 3)
    content = "\n".join(exported(store, None, None, "me")).encode()
    with closing(open_store(str(tmp_path / "copy"))) as copy:
        assert imported(copy, read_copy(content, "file")) == 4
        assert found(copy, memory) == found(store, memory)
        assert [copy.turn(turn.id) for turn in turns] == [store.turn(turn.id) for turn in turns]
        assert copy.verify() == []
        assert imported(copy, read_copy(content, "file")) == 0
        assert len(copy.delete_user_memory("me", "ann")) == 3


def test_a_store_of_before_gets_the_tables(tmp_path: Path) -> None:
    with closing(open_store(str(tmp_path / "db"))) as store:
        store.add([make_turn()])
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as base:
        base.executescript("DROP TABLE told; DROP TABLE user_memories;")
    with closing(open_store(str(tmp_path / "db"))) as store:
        begun(store, anew())
        assert store.verify() == []
