"""``rxt db list`` and memories of users."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rxt.cli.db import run
from rxt.model.pool import Fragment, Pool
from rxt.model.pool_keys import KeyTable
from rxt.model.pool_parts import fragment_bytes, head_bytes
from rxt.store.records import StoredFragment, Turn, UserMemory
from rxt.store.sqlite import SqliteStore


def test_memories_of_users_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slots = torch.ones(2, 2, 4)
    pool = Pool(
        slots[:, :1], slots, (Fragment(slots, 1, 1), Fragment(2 * slots, 7, 3)), KeyTable.of(torch.ones(2, 3)), 7
    )
    parts = [StoredFragment.of(fragment_bytes(pool, index)) for index in range(2)]
    store = SqliteStore.open(str(tmp_path / "db"), create=True)
    for user, written in (("ann", True), ("bob", False)):
        turn = replace(Turn(f"resp_{user}", "me", 5.0, "0123"), kind="memory", user=user)
        store.add([turn], memory=UserMemory("me", user, "0123", 5.0, 5.0 + written))
        if written:
            store.memorize(turn.id, head_bytes(pool), [part.name for part in parts], parts)
    store.close()
    assert run(["list", str(tmp_path / "db"), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((each["user"], each["turns"], each["fragments"]) for each in found) == [
        ("ann", 7, 2),
        ("bob", None, None),
    ]
    assert {each["owner"] for each in found} == {"me"}
    assert run(["list", str(tmp_path / "db")]) == 0
    printed = capsys.readouterr().out
    assert "user 'ann' of me" in printed
    assert "7 turns, 2 fragments, model 0123" in printed
    assert "not memorized yet" in printed
    assert "0 conversations, 2 turns (1 not memorized yet)" in printed
