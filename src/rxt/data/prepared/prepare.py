"""Files as tokens on the disk: read in one process, tokenized in several, a shard at a time.

What is in a shard depends on the files and the plan alone, never on the number of processes, so a preparation that was
stopped goes on with any number: whole shards are read over, the others written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rxt.config import Markers, TemplateName, parse, read_json
from rxt.data.encoding import encode_conversation
from rxt.data.hub_stream import HubStream
from rxt.data.markup import Encoded
from rxt.data.prepared.index import (
    INDEX,
    INDEXES,
    NOTES,
    PLAN,
    PLANS,
    UNLIMITED,
    Index,
    Kind,
    Plan,
    ShardNote,
    SourceFile,
    read_index,
    read_tokenizer,
    whole_template,
)
from rxt.data.prepared.shard import Role, ShardWriter
from rxt.data.readers import TAKEN_BY, WANTED, Taking, Tally, detect_format, good_records, taking
from rxt.data.records import Conversation, Format, Interaction, OnBad, TextRecord
from rxt.data.sources import BadRow, DataFile, Row, file_rows, read_rows, source_files
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.folders import TOKENIZER

SHARD_CHARACTERS = 32_000_000
"""Of the records of a shard: some eight million tokens."""
TOKENIZER_RECORDS = 200_000
ENDS = 2**16
"""Bytes at either end of a file by which it is known again."""


Opened = tuple[Format, Sequence[DataFile | HubStream]]
"""What a source holds, and its files."""


@dataclass(frozen=True)
class Block:
    """The records of one shard."""

    folder: Path
    name: str
    found: Format
    """What the file holds."""
    rows: Sequence[Row | BadRow]


def prepare(
    sources: Sequence[str],
    tokenizer: ChatTokenizer,
    folder: Path,
    kind: Kind | None = None,
    template: TemplateName | None = None,
    markers: Markers | None = None,
    on_bad: OnBad = "stop",
    workers: int = 1,
    shard_characters: int = SHARD_CHARACTERS,
    report: Callable[[ShardNote], None] = lambda note: None,
) -> Index:
    """Write what ``sources`` hold into ``folder`` as token shards, or go on with what was begun there.

    Args:
        kind: what is taken out of the sources; what the first of them holds by default.
        template: that of the models which are to be trained; by default beta where the tokenizer has its tokens.
        markers: those of a pre-trained model's chat template.
        workers: processes that tokenize.
        report: told of every shard that is written.

    Raises:
        UserError: a source cannot be read, or has nothing of the kind; a bad record when ``on_bad`` is ``"stop"``; the
            folder holds something else.
    """
    opened: list[Opened] = [(detect_format(source), source_files(source)) for source in sources]
    kind = kind or kind_by_default(opened[0][0])
    for (found, _), source in zip(opened, sources, strict=True):
        _taking(source, found, kind)
    template = template or ("alpha" if tokenizer.tokens.think is None else "beta")
    whole = Template(tokenizer, template, UNLIMITED, markers=markers)
    plan = Plan(
        kind,
        template,
        whole.system_title,
        tokenizer.tokens,
        markers,
        tokenizer.fingerprint,
        on_bad,
        shard_characters,
        tuple(_source_file(file) for _, files in opened for file in files),
    )
    _begin(folder, plan, tokenizer)
    if (folder / INDEX).exists():
        return read_index(folder)
    blocks = _blocks(folder, opened, shard_characters)
    notes = sorted(_written(folder, blocks, workers, report), key=lambda note: note.name)
    if not any(note.documents for note in notes):
        reason = next((reason for note in notes for reason in note.reasons), "no record has any text")
        raise UserError(f"{sources[0]}: nothing to prepare, the first reason: {reason}")
    index = Index(plan, tuple(notes))
    write_atomically(folder / INDEX, INDEXES.dump_json(index, indent=2))
    return index


def train_tokenizer(sources: Sequence[str], vocab_size: int, template: TemplateName) -> ChatTokenizer:
    """A tokenizer of the first ``TOKENIZER_RECORDS`` good records, evenly of all sources.

    Raises:
        UserError: a source cannot be read, or there is too little text.
    """

    def texts() -> Iterator[str]:
        for source in sources:
            how = _taking(source, detect_format(source), "text")
            records = good_records(read_rows(source), how.layouts, Tally("skip"))
            for _, record in islice(records, TOKENIZER_RECORDS // len(sources)):
                yield from (text.text for text in how.out_of(record))

    return ChatTokenizer.train(texts(), vocab_size, template)


def kind_by_default(found: Format) -> Kind:
    """What is taken out of files that hold something."""
    return "conversations" if found == "preferences" else found


def _taking(source: str, found: Format, kind: Kind) -> Taking[Any]:
    how = taking(found, kind)
    if how is None:
        raise UserError(f"{source}: holds {found}; {WANTED[kind]} needed for this; {TAKEN_BY[found]}")
    return how


def _source_file(file: DataFile | HubStream) -> SourceFile:
    if isinstance(file, HubStream):
        return SourceFile(file.name, 0, file.revision)
    try:
        size = file.path.stat().st_size
        with file.path.open("rb") as stream:
            ends = stream.read(ENDS)
            stream.seek(max(0, size - ENDS))
            ends += stream.read(ENDS)
    except OSError as error:
        raise UserError(f"{file.name}: cannot be read ({error.strerror or error})") from None
    return SourceFile(file.name, size, hashlib.sha256(ends).hexdigest())


def _begin(folder: Path, plan: Plan, tokenizer: ChatTokenizer) -> None:
    """Make the folder this plan's, or see that it is."""
    make_folder(folder)
    if (folder / PLAN).exists():
        found = parse(PLANS, read_json(folder / PLAN), str(folder / PLAN))
        if found != plan:
            name = next(name for name, value in vars(plan).items() if getattr(found, name) != value)
            raise UserError(
                f"{folder}: holds what was prepared otherwise ({name} differ); name a new folder, or the same sources "
                "and options"
            )
        return
    others = sorted(child.name for child in folder.iterdir())
    if others:
        raise UserError(f"{folder}: is not empty (it holds {others[0]}); name a new folder")
    tokenizer.save(folder / TOKENIZER)
    write_atomically(folder / PLAN, PLANS.dump_json(plan, indent=2))


def _blocks(folder: Path, opened: Sequence[Opened], characters: int) -> Iterator[Block]:
    """The records of each shard in turn; those of two sources never share one."""
    number = 0
    for found, files in opened:
        rows, size = list[Row | BadRow](), 0
        for row in (row for file in files for row in file_rows(file)):
            rows.append(row)
            size += _characters(row.value) if isinstance(row, Row) else 0
            if size >= characters:
                yield Block(folder, f"{number:05d}", found, rows)
                number, rows, size = number + 1, [], 0
        if rows:
            yield Block(folder, f"{number:05d}", found, rows)
            number += 1


def _characters(value: object) -> int:
    """About how long a JSON value is."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 1


def _written(
    folder: Path, blocks: Iterable[Block], workers: int, report: Callable[[ShardNote], None]
) -> Iterator[ShardNote]:
    """The note of every block's shard, in any order; those that are whole already are only read."""
    missing = list[ShardNote]()  # found whole while the blocks are gone through

    def to_write() -> Iterator[Block]:
        for block in blocks:
            note = _whole(block)
            if note is None:
                yield block
            else:
                missing.append(note)

    if workers == 1:
        plan, template = _plan_of(folder)
        for block in to_write():
            note = write_shard(block, plan, template)
            report(note)
            yield note
    else:
        # One block for every process and one to come: what waits is held in memory.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            running = set[Future[ShardNote]]()
            try:
                for block in to_write():
                    running.add(pool.submit(_write_in_process, block))
                    if len(running) > workers:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        for future in done:
                            report(future.result())
                            yield future.result()
                for future in running:
                    report(future.result())
                    yield future.result()
            except BrokenProcessPool:
                raise UserError(
                    "a process that tokenizes was killed (out of memory?); the same command goes on, also with fewer "
                    "--workers"
                ) from None
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    yield from missing


def _whole(block: Block) -> ShardNote | None:
    """The note of a block's shard if that is whole."""
    path = block.folder / f"{block.name}.json"
    if not path.exists():
        return None
    note = parse(NOTES, read_json(path), str(path))
    sizes = [(block.folder / file.name, file.size) for file in note.files]
    right = note.rows == len(block.rows) and all(file.exists() and file.stat().st_size == size for file, size in sizes)
    return note if right else None


def write_shard(block: Block, plan: Plan, template: Template) -> ShardNote:
    """Tokenize a block and write its shard."""
    how, tally = _taking(block.name, block.found, plan.kind), Tally(plan.on_bad)
    shard = ShardWriter(template.tokenizer.vocab_size, plan.kind == "text")
    for place, record in good_records(block.rows, how.layouts, tally):
        for each in how.out_of(record):
            try:
                sequences = _sequences(each, template)
            except UserError as error:
                tally.bad(place, error)
                break
            if sequences:
                shard.add(sequences)
    note = ShardNote(
        block.name,
        len(block.rows),
        shard.documents,
        shard.sequences,
        shard.tokens,
        shard.targets,
        shard.longest,
        skipped=tally.skipped,
        reasons=tuple(tally.reasons),
        ignored_keys=dict(tally.ignored),
    )
    if shard.documents:
        note = replace(note, files=shard.write(block.folder, block.name))
    write_atomically(block.folder / f"{block.name}.json", NOTES.dump_json(note, indent=2))
    return note


def _write_in_process(block: Block) -> ShardNote:
    return write_shard(block, *_plan_once(block.folder))


@lru_cache(maxsize=1)
def _plan_once(folder: Path) -> tuple[Plan, Template]:
    return _plan_of(folder)


def _plan_of(folder: Path) -> tuple[Plan, Template]:
    plan = parse(PLANS, read_json(folder / PLAN), str(folder / PLAN))
    return plan, whole_template(read_tokenizer(folder, plan), plan)


def _sequences(record: TextRecord | Interaction | Conversation, template: Template) -> list[tuple[Encoded, Role]]:
    """A record as the sequences of one document."""
    if isinstance(record, TextRecord):
        return [(encoded, Role.LEARNED) for encoded in template.text(record.text)]
    if isinstance(record, Interaction):
        return [(template.interaction(record), Role.LEARNED)]
    system = [Role.SYSTEM] if record.system else []
    roles = [Role.MEMORIZED if turn in record.unlearned else Role.LEARNED for turn in range(len(record.interactions))]
    return list(zip(encode_conversation(record, template), [*system, *roles], strict=True))
