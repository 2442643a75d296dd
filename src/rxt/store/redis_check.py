"""What does not fit together in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxt.store.base import Store, StoreFailed
from rxt.store.records import Damaged
from rxt.store.redis_fragments import RedisFragments
from rxt.store.redis_turns import MEMORY, TURN, memory_of, turn_key, turn_of


def problems_of(store: Store, ask: Callable[..., Any], fragments: RedisFragments) -> list[str]:
    """One line each; checks every turn and memory."""
    problems, checked = list[str](), dict[str, bool]()
    try:
        for name in store.scan():
            problems += fragments.problems(turn_key(name), name, checked)
            try:  # read at once: a server may be writing
                body, digest, status, content, checksum = ask("HMGET", turn_key(name), *TURN, *MEMORY)
                turn, memory = turn_of(name, body, digest, status), memory_of(name, content, checksum)
            except Damaged as error:
                problems.append(str(error))
                continue
            if turn is None:
                problems.append(f"{name}: this turn is not there")
            elif (turn.status == "memorized") != (memory is not None):
                problems.append(f"{name}: is {turn.status}, but there is {'a' if memory else 'no'} memory")
            elif memory is None:
                before = filter(None, (turn.parent, turn.follows))
                if not all(ask("EXISTS", turn_key(each)) for each in before):
                    problems.append(f"{name}: the turn before it is gone")
        for dialogue in store.dialogues(limit=1 << 40):
            if dialogue.head is not None and not ask("EXISTS", turn_key(dialogue.head)):
                problems.append(f"{dialogue.id}: its newest turn {dialogue.head} is not there")
        for each in store.user_memories():
            if not ask("EXISTS", turn_key(each.head or "")):
                problems.append(f"the memory of the user {each.user}: its newest turn {each.head} is not there")
    except StoreFailed as error:
        problems.append(str(error))
    return problems
