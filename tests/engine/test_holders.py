"""Who has died holding a conversation is seen to be dead on the same machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from rxt.engine.calls import StoreCalls
from rxt.engine.holders import has_died, holder_name
from rxt.engine.leases import Leases
from rxt.store.records import Dialogue, new_id
from rxt.store.sqlite import SqliteStore

if not Path("/proc/self/ns/pid").exists():
    pytest.skip("this system does not tell of processes under /proc", allow_module_level=True)

HOLD = "import sys; from rxt.engine.holders import holder_name; print(holder_name(), flush=True); sys.stdin.read()"


def test_a_conversation_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    store, dialogue = SqliteStore(tmp_path / "db"), Dialogue(new_id("conv"), "me", 1.0, 1.0, None, {})
    store.put(dialogue)

    async def taken() -> bool:
        leases = Leases(store, StoreCalls(), wait_seconds=1.0, most_waiting=4)
        try:
            await leases.take("me", dialogue.id)
        except Exception:
            return False
        await leases.close()
        return True

    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        holder = process.stdout.readline().strip()
        assert store.lock(dialogue.id, holder, 600)
        assert store.holder(dialogue.id) == holder
        assert not has_died(holder)
        assert not asyncio.run(taken()), "its process lives"
        process.kill()
        process.wait()
        assert has_died(holder)
        assert asyncio.run(taken())
    store.close()


def test_only_what_is_certain_counts() -> None:
    machine, pid, start, rest = holder_name().split("/")
    assert has_died(f"{machine}/{pid}/{int(start) - 1}/{rest}"), "the number is used again"
    for name in (f"{machine}/{pid}/{start}/{rest}", f"x/{pid}/1/{rest}", f"{machine}/{pid}//{rest}", "another"):
        assert not has_died(name), name
