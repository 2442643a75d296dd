"""What every store does, in SQLite and in Redis alike."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redis_server import RedisServer
from rxt.errors import UserError
from rxt.store.base import Moved, Store
from rxt.store.copy import exported, imported, read_copy
from rxt.store.open import KINDS, open_store
from rxt.store.records import Call, Damaged, Dialogue, Retention, Stats, Turn, new_id
from rxt.store.redis import RedisStore
from rxt.store.sqlite import SqliteStore


def make_turn(
    parent: str | None = None,
    owner: str = "me",
    created: float = 1.0,
    conversation: str | None = None,
    prefix: str = "p",
) -> Turn:
    return Turn(
        new_id("resp"),
        owner,
        created,
        "f" * 16,
        parent,
        conversation,
        query="hello ä",
        answer="hi",
        prompt=(1, 3, 9),
        said=(8, 2),
        prefix=prefix,
    )


def make_dialogue(store: Store, owner: str = "me", head: str | None = None, updated: float = 1.0) -> Dialogue:
    made = Dialogue(new_id("conv"), owner, 1.0, updated, head, {"title": "ä"})
    store.put(made)
    return made


def chain(store: Store, count: int, memory: bytes = b"m" * 100) -> list[Turn]:
    """Turns one after the other, all memorized."""
    turns: list[Turn] = []
    for number in range(count):
        turns.append(make_turn(turns[-1].id if turns else None, created=float(number)))
        store.add([turns[-1]])
        store.memorize(turns[-1].id, memory)
    return turns


def test_a_turn_comes_back(store: Store) -> None:
    turn = make_turn()
    store.add([turn])
    assert store.turn(turn.id) == store.turn(turn.id, "me") == turn
    assert store.turn(turn.id, "you") is None
    assert store.memory(turn.id) is None
    assert store.unfinished() == [turn]
    store.memorize(turn.id, b"abc")
    assert store.turn(turn.id) == turn.memorized()
    assert store.memory(turn.id) == b"abc"
    assert store.unfinished() == []
    assert store.verify() == []
    store.memorize("resp_gone", b"abc")
    assert store.turn("resp_gone") is None


def test_turns_come_in_lots_or_not_at_all(store: Store) -> None:
    dialogue = make_dialogue(store)
    first, second = make_turn(), make_turn()
    store.add([first], dialogue.id, None)
    assert store.dialogue(dialogue.id) == replace(dialogue, head=first.id, updated=first.created)
    with pytest.raises(Moved, match="elsewhere"):
        store.add([second], dialogue.id, None)
    assert store.turn(second.id) is None
    with pytest.raises(Moved):
        store.add([second], "conv_gone", None)
    store.add([second], dialogue.id, first.id)
    assert store.stats().turns == 2


def test_a_turn_is_added_once_though_the_answer_of_redis_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(store, RedisStore):
        pytest.skip("of Redis alone: SQLite has no connection")
    import redis
    from redis.client import Pipeline

    dialogue, turn, execute = make_dialogue(store), make_turn(), Pipeline._execute_transaction

    def lost(pipe: Any, *words: Any) -> Any:
        monkeypatch.setattr(Pipeline, "_execute_transaction", execute)
        watching = pipe.watching
        execute(pipe, *words)
        pipe.watching = watching  # until the answer is there
        raise redis.ConnectionError("the connection was lost")

    for conversation, added in ((dialogue.id, turn), (None, make_turn(turn.id))):
        monkeypatch.setattr(Pipeline, "_execute_transaction", lost)
        store.add([added], conversation)
    assert store.dialogue(dialogue.id, "me") == replace(dialogue, head=turn.id)
    assert store.stats() == Stats(2, 2, 1, len(turn.to_json()) + len(added.to_json()))


def test_only_one_of_many_moves_the_head(store: Store) -> None:
    dialogue = make_dialogue(store)

    def attempt(turn: Turn) -> bool:
        try:
            store.add([turn], dialogue.id, None)
        except Moved:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, [make_turn() for _ in range(16)])) == 1
    assert store.stats().turns == 1


def test_histories_are_found_by_their_owner(store: Store) -> None:
    turn = make_turn(prefix="one")
    store.add([turn])
    assert store.by_prefix("me", "one", turn.fingerprint) == turn
    assert store.by_prefix("you", "one", turn.fingerprint) is None
    assert store.by_prefix("me", "one", "0" * 16) is None
    assert store.delete_turn(turn.id, "me")
    assert store.by_prefix("me", "one", turn.fingerprint) is None


def test_the_chain_and_the_children(store: Store) -> None:
    turns = chain(store, 3)
    child = make_turn(turns[0].id)
    store.add([child])
    assert [turn.id for turn in store.chain(turns[-1].id, "me")] == [turn.id for turn in turns]
    assert [turn.id for turn in store.chain(turns[-1].id, "me", 2)] == [turn.id for turn in turns[1:]]
    assert store.chain(turns[-1].id, "you") == []
    assert store.children(turns[0].id) == [child]
    assert list(store.scan()) == [*(turn.id for turn in turns), child.id]


def test_deleting(store: Store) -> None:
    turns = chain(store, 2)
    dialogue = make_dialogue(store, head=turns[1].id)
    assert not store.delete_turn(turns[1].id, "you")
    assert store.delete_turn(turns[1].id, "me")
    assert not store.delete_turn(turns[1].id, "me")
    assert store.dialogue(dialogue.id) == replace(dialogue, head=turns[0].id), "it falls back to the turn before"
    assert store.memory(turns[1].id) is None
    assert store.verify() == []
    dialogue = make_dialogue(store)
    said = make_turn(conversation=dialogue.id)
    store.add([said], dialogue.id)
    assert not store.delete_dialogue(dialogue.id, "you")
    assert store.delete_dialogue(dialogue.id, "me")
    assert store.turn(said.id) is None
    assert (store.stats().turns, store.stats().conversations) == (1, 1)


def test_a_conversation_falls_back_turn_by_turn(store: Store) -> None:
    turns = chain(store, 4)
    whole, cut = make_dialogue(store, head=turns[1].id), make_dialogue(store, head=turns[3].id)
    for head in (turns[0].id, None):
        assert store.delete_turn(turns[1].id if head else turns[0].id, "me")
        assert store.dialogue(whole.id) == replace(whole, head=head)
    assert store.delete_turn(turns[2].id, "me")
    assert store.dialogue(cut.id) == cut, "a turn in the middle changes nothing"
    assert store.delete_turn(turns[3].id, "me")
    assert store.dialogue(cut.id) is None, "there is nothing that it could go on from"
    assert store.verify() == []
    first = make_turn(conversation=whole.id)
    store.add([first], whole.id, None)
    assert store.dialogue(whole.id) == replace(whole, head=first.id)


def test_what_a_fork_stands_on_outlives_its_conversation(store: Store) -> None:
    dialogue = make_dialogue(store)
    said: list[Turn] = []
    for _ in range(4):
        before = said[-1].id if said else None
        said.append(make_turn(before, conversation=dialogue.id))
        store.add([said[-1]], dialogue.id, before)
        store.memorize(said[-1].id, b"m")
    fork = make_turn(said[1].id)
    store.add([fork])
    store.memorize(fork.id, b"m")
    other = make_dialogue(store, head=said[2].id)
    assert store.delete_dialogue(dialogue.id, "me")
    assert store.chain(fork.id, "me") == [*(turn.memorized() for turn in said[:2]), fork.memorized()]
    assert store.dialogue(other.id) == other
    assert store.memory(said[2].id) == b"m"
    assert store.turn(said[3].id) is None, "nobody goes on from the last"
    assert store.verify() == []


def test_conversations_are_listed_by_use(store: Store) -> None:
    made = [make_dialogue(store, owner, updated=float(number)) for number, owner in enumerate(("me", "you", "me"))]
    assert store.dialogues("me") == [made[2], made[0]]
    assert store.dialogues(limit=2) == [made[2], made[1]]
    assert store.dialogue(made[0].id, "you") is None
    store.put(replace(made[0], metadata={"a": "b"}, updated=9.0))
    assert store.dialogues("me")[0].metadata == {"a": "b"}


def test_one_holder_at_a_time(store: Store, where: str) -> None:
    dialogue, other = make_dialogue(store), open_store(where)
    assert store.lock(dialogue.id, "a", 60)
    assert store.lock(dialogue.id, "a", 60)
    assert not other.lock(dialogue.id, "b", 60)
    other.unlock(dialogue.id, "b")
    assert not other.lock(dialogue.id, "b", 60)
    assert other.holder(dialogue.id) == "a"
    store.unlock(dialogue.id, "a")
    assert other.holder(dialogue.id) is None
    assert other.lock(dialogue.id, "b", 0.01)
    time.sleep(0.05)
    assert store.lock(dialogue.id, "a", 60), "who has died loses it"
    assert not store.lock("conv_gone", "a", 60)
    other.close()


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        (Retention(), 6),
        (Retention(seconds=2.5), 3),
        (Retention(turns=2), 2),
        (Retention(turns=0), 0),
        (Retention(bytes=0), 0),
        (Retention(seconds=4.5, turns=1), 1),
    ],
)
def test_the_oldest_go(store: Store, retention: Retention, left: int) -> None:
    turns = chain(store, 6)
    dialogue = make_dialogue(store, head=turns[-1].id)
    old = make_dialogue(store, head=turns[0].id)
    assert store.prune(retention, now=5.0) == 6 - left
    assert [turn.id for turn in store.chain(turns[-1].id, "me")] == [turn.id for turn in turns[6 - left :]]
    assert (store.dialogue(dialogue.id) is None) == (left == 0)
    assert (store.dialogue(old.id) is None) == (left < 6)
    assert store.verify() == []
    assert store.stats().bytes > 0 if left else store.stats() == Stats(0, 0, 0, 0)


def test_bytes_are_bounded(store: Store) -> None:
    chain(store, 6, b"m" * 10_000)
    assert store.prune(Retention(bytes=35_000), 9.0) == 3
    assert store.stats().bytes <= 35_000


def test_pruning_gives_the_disk_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "db")
    chain(store, 50, b"m" * 40_000)
    assert store.prune(Retention(turns=5), 99.0) == 45
    left = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 5 * 40_000 < left < 10 * 40_000, "the file and its log shrink while the store is open"
    assert store.verify() == []
    store.close()


def test_what_is_needed_is_not_forgotten(store: Store) -> None:
    turns = chain(store, 3)
    child = make_turn(turns[1].id)
    store.add([child])
    assert store.prune(Retention(turns=0), 9.0) == 2
    assert [turn.id for turn in store.chain(child.id, "me")] == [turns[1].id, child.id]


def test_what_was_written_is_there_after_opening_again(store: Store, where: str) -> None:
    turns = chain(store, 2)
    again = open_store(where)
    assert again.turn(turns[1].id) == turns[1].memorized()
    again.close()


def test_from_one_store_into_another(store: Store, tmp_path: Path) -> None:
    turns = chain(store, 3)
    call = Call("call_1", "add", '{"a": 7}', "wrong")
    unfinished = replace(make_turn(turns[-1].id), role="tool", result_of="call_0", mode="auto", think="so", call=call)
    store.add([unfinished])
    assert store.turn(unfinished.id) == unfinished
    dialogue = make_dialogue(store, head=unfinished.id)
    content = "\n".join(exported(store, None, None, "")).encode()
    other = SqliteStore(tmp_path / "other")
    assert imported(other, read_copy(content, "file")) == 5
    assert imported(other, read_copy(content, "file")) == 0
    assert other.dialogue(dialogue.id) == dialogue
    assert other.chain(unfinished.id, "me") == store.chain(unfinished.id, "me")
    assert other.memory(turns[2].id) == store.memory(turns[2].id)
    assert other.verify() == []
    other.close()
    part = list(exported(store, turns[1].id, turns[1].id, "me"))
    assert len(part) == 2
    for damaged in (
        content.replace(b'"hello', b'"jello', 1),
        content[:-9],
        b"{}",
        b"\xff",
        content.replace(b'"bW1t', b'"bW1u', 1),
        content.replace(b'{"title": "\\u00e4"}', b"[]", 1),
    ):
        with pytest.raises(UserError, match=r"file line (1|5): ") as refused:
            imported(other, read_copy(damaged, "file"))
        assert "\n" not in str(refused.value)


def test_damage_is_found(store: Store, where: str) -> None:
    first, second, third = (turn.id for turn in chain(store, 3))
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(where, isolation_level=None)) as base:
            base.execute("UPDATE turns SET body = replace(body, 'hello', 'jello') WHERE id = ?", (first,))
            base.execute("UPDATE turns SET memory = zeroblob(9) WHERE id = ?", (second,))
            base.execute("UPDATE turns SET body = '{' WHERE id = ?", (third,))
    else:
        import redis

        with redis.Redis.from_url(where) as client:
            body = client.execute_command("HGET", f"rxt:turn:{first}", "body")
            assert isinstance(body, bytes)
            client.execute_command("HSET", f"rxt:turn:{first}", "body", body.replace(b"hello", b"jello"))
            client.execute_command("HSET", f"rxt:turn:{second}", "memory", b"000")
            client.execute_command("HSET", f"rxt:turn:{third}", "body", b"{")
    with pytest.raises(Damaged, match="checksum is another"):
        store.turn(first)
    with pytest.raises(Damaged, match="checksum is another"):
        store.memory(second)
    with pytest.raises(Damaged, match="cannot be read"):
        store.turn(third)
    assert len(store.verify()) == 3


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, foreign, newer = tmp_path / "text", tmp_path / "foreign", tmp_path / "newer"
    text.write_text("no database at all, and long enough to be looked at" * 40)
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE things (a)")
    base.close()
    open_store(str(newer)).close()
    base = sqlite3.connect(newer)
    base.execute("PRAGMA user_version = 99")
    base.close()
    for path, message in [
        (text, "not a store of conversations"),
        (foreign, "of another program"),
        (newer, "version 99"),
        (tmp_path, "a folder"),
        (tmp_path / "no" / "db", "no folder"),
    ]:
        with pytest.raises(UserError, match=message):
            open_store(str(path))
    with pytest.raises(UserError, match="no such file"):
        open_store(str(tmp_path / "missing"), create=False)


def test_a_file_that_cannot_be_written_is_not_called_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(UserError, match=r"db: cannot be opened for writing \(database or disk is full\); see to"):
        open_store(str(tmp_path / "db"))


def test_a_redis_that_is_not_there_is_named_without_the_password() -> None:
    pytest.importorskip("redis", reason="the Redis client is missing: pip install 'reactive-transformers[serve]'")
    with pytest.raises(UserError, match=r"^127\.0\.0\.1:1/0: Redis failed"):
        open_store("redis://:secret@127.0.0.1:1/0")


def test_a_redis_that_forgets_is_warned_of(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    import redis

    with redis.Redis.from_url(redis_server.address) as client:
        try:
            for most, policy, warned in (
                (0, "allkeys-lru", False),
                (1 << 30, "noeviction", False),
                (1 << 30, "allkeys-lru", True),
            ):
                client.config_set("maxmemory", most)
                client.config_set("maxmemory-policy", policy)
                caplog.clear()
                open_store(redis_server.address).close()
                assert ("maxmemory-policy noeviction" in caplog.text) == warned, (most, policy)
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")


def test_a_truncated_file_does_not_verify(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = open_store(str(path))
    chain(store, 50)
    store.close()
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match="not a store of conversations"):
        open_store(str(path))


class FolderStore(SqliteStore):
    """A further kind of store: at a folder."""

    @classmethod
    def open(cls, address: str, create: bool) -> FolderStore:
        return cls(Path(address.removeprefix("folder://")) / "db", create)


def test_a_further_kind_of_store_is_a_class_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="folder://"):
        open_store(f"folder://{tmp_path}")
    monkeypatch.setitem(KINDS, "folder", f"{__name__}:FolderStore")
    store, turn = open_store(f"folder://{tmp_path}"), make_turn()
    store.add([turn])
    assert isinstance(store, FolderStore)
    assert store.turn(turn.id) == turn
    store.close()
