"""``rxt db``: the store of a server from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.errors import UserError
from rxt.store.base import Store
from rxt.store.open import open_store
from rxt.store.records import Retention, UserMemory

USAGE = """usage: rxt db ACTION STORE [options]

  list    conversations, memories of users, and how much there is
  show    one conversation or response, with its turns
  export  everything, or one conversation or response, into a file; one memory into a memory file
  import  what export wrote
  prune   forget the oldest turns beyond limits
  verify  check every turn and memory; exit code 1 if something is wrong

STORE is a file or redis://HOST:PORT/NUMBER. rxt db ACTION --help tells more."""


StoreName = Annotated[str, Positional, arg(metavar="STORE")]


@dataclass(frozen=True)
class ListOptions:
    """Conversations and memories of users, those that were used last first, and how much there is."""

    store: StoreName
    limit: int = 50
    """Conversations and users, at most so many of each."""
    json: bool = False
    """As one line of JSON each."""


@dataclass(frozen=True)
class ShowOptions:
    """One conversation or response with its turns, the oldest first."""

    store: StoreName
    name: Annotated[str, Positional, arg(metavar="NAME")]
    """conv_… or resp_…"""


@dataclass(frozen=True)
class ExportOptions:
    """Write turns, memories and conversations into a file, whole or not at all: a backup, or for another store."""

    store: StoreName
    file: Annotated[Path, Positional, arg(metavar="FILE")]
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Only this conversation or response, with the turns before it."""
    memory: bool = False
    """Only the memory after NAME, as a file for rxt chat --memory."""


@dataclass(frozen=True)
class ImportOptions:
    """Add what export wrote; turns that are there already stay as they are."""

    store: StoreName
    file: Annotated[Path, Positional, arg(metavar="FILE")]


@dataclass(frozen=True)
class PruneOptions:
    """Forget the oldest turns beyond limits. Turns that are not memorized yet, and what they need, stay."""

    store: StoreName
    days: Annotated[float | None, arg(metavar="DAYS", help_behavior_hint="")] = None
    turns: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="")] = None
    bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="")] = None


@dataclass(frozen=True)
class VerifyOptions:
    """Check every turn and memory against its checksum, and the file itself."""

    store: StoreName


def run(argv: list[str]) -> int:
    """The verb ``db``."""
    match argv:
        case [] | ["-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["list", *rest]:
            return _list(parse_arguments(ListOptions, "rxt db list", rest))
        case ["show", *rest]:
            return _show(parse_arguments(ShowOptions, "rxt db show", rest))
        case ["export", *rest]:
            return _export(parse_arguments(ExportOptions, "rxt db export", rest))
        case ["import", *rest]:
            return _import(parse_arguments(ImportOptions, "rxt db import", rest))
        case ["prune", *rest]:
            return _prune(parse_arguments(PruneOptions, "rxt db prune", rest))
        case ["verify", *rest]:
            return _verify(parse_arguments(VerifyOptions, "rxt db verify", rest))
    raise UserError(f"{argv[0]}: no such action; there are list, show, export, import, prune, verify (rxt db --help)")


@contextmanager
def _opened(where: str, create: bool = False) -> Iterator[Store]:
    store = open_store(where, create)
    try:
        yield store
    finally:
        store.close()


def _list(options: ListOptions) -> int:
    with _opened(options.store) as store:
        for dialogue in store.dialogues(limit=options.limit):
            head = None if dialogue.head is None else store.turn(dialogue.head)
            turns = 0 if head is None else head.number
            if options.json:
                print(
                    json.dumps(
                        {"id": dialogue.id, "turns": turns, "updated": dialogue.updated, "metadata": dialogue.metadata}
                    )
                )
            else:
                noted = json.dumps(dialogue.metadata, ensure_ascii=False) if dialogue.metadata else ""
                print(f"{dialogue.id}  {_minute(dialogue.updated)}  {turns} turns  {noted}".rstrip())
        newest = sorted(store.user_memories(), key=lambda memory: -memory.updated)
        for memory in newest[: options.limit]:
            _list_user(store, memory, options.json)
        stats = store.stats()
        if not options.json:
            print(
                f"{stats.conversations} conversations, {stats.turns} turns ({stats.unfinished} not memorized yet), "
                f"{stats.bytes:,} bytes"
            )
    return 0


def _list_user(store: Store, memory: UserMemory, as_json: bool) -> None:
    """What a user's memory has, in one line."""
    from rxt.model.pool_parts import counts

    head = None if memory.head is None else store.memory(memory.head)
    fragments, turns = (None, None) if head is None else counts(head)
    if as_json:
        values = {"user": memory.user, "owner": memory.owner, "fingerprint": memory.fingerprint}
        print(json.dumps(values | {"turns": turns, "fragments": fragments, "updated": memory.updated}))
        return
    much = "not memorized yet" if head is None else f"{turns} turns, {fragments} fragments"
    whose = f" of {memory.owner}" if memory.owner else ""
    print(f"user {memory.user!r}{whose}  {_minute(memory.updated)}  {much}, model {memory.fingerprint}")


def _minute(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _head(store: Store, name: str) -> tuple[str | None, str]:
    """The newest turn that a name stands for, and its owner."""
    dialogue = store.dialogue(name)
    if dialogue is not None:
        return dialogue.head, dialogue.owner
    turn = store.turn(name)
    if turn is None:
        raise UserError(f"{name}: there is no such conversation or response in this store (rxt db list)")
    return turn.id, turn.owner


def _show(options: ShowOptions) -> int:
    with _opened(options.store) as store:
        head, owner = _head(store, options.name)
        for turn in store.chain(head, owner):
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(turn.created))
            print(f"{turn.id}  {moment}  turn {turn.number}  {turn.kind}, {turn.status}, model {turn.fingerprint}")
            if turn.kind != "memory":
                print(f"  > {turn.query}\n  {turn.answer}")
    return 0


def _export(options: ExportOptions) -> int:
    from rxt.files import write_atomically
    from rxt.store.copy import exported

    with _opened(options.store) as store:
        head, owner = (None, "") if options.name is None else _head(store, options.name)
        if options.memory:
            from rxt.engine.stored import memory_file

            memory = None if head is None else memory_file(store, head)
            if memory is None:
                raise UserError(
                    "there is no memory to write: name a response with --name, one that is memorized (rxt db show)"
                )
            write_atomically(options.file, memory)
            print(f"{options.file}: the memory after {head}")
            return 0
        lines = list(exported(store, options.name, head, owner))
        write_atomically(options.file, "".join(f"{line}\n" for line in lines).encode())
        print(f"{options.file}: {len(lines)} turns and conversations")
    return 0


def _import(options: ImportOptions) -> int:
    from rxt.files import read_bytes
    from rxt.store.copy import imported, read_copy

    copied = read_copy(read_bytes(options.file), str(options.file))
    with _opened(options.store, create=True) as store:
        print(f"{imported(store, copied)} turns and conversations added")
    return 0


def _prune(options: PruneOptions) -> int:
    limits = Retention(None if options.days is None else options.days * 86400, options.turns, options.bytes)
    if limits == Retention():
        raise UserError("nothing to do: name a limit, --days, --turns or --bytes")
    if any(limit is not None and limit < 0 for limit in (limits.seconds, limits.turns, limits.bytes)):
        raise UserError("a limit cannot be negative")
    with _opened(options.store) as store:
        print(f"{store.prune(limits, time.time())} turns forgotten")
    return 0


def _verify(options: VerifyOptions) -> int:
    with _opened(options.store) as store:
        problems = store.verify()
        stats = None if problems else store.stats()
    for problem in problems:
        print(problem)
    if stats is not None:
        print(f"{stats.turns} turns, {stats.conversations} conversations: all as it was written")
    return 1 if problems else 0
