"""``rxt data``: files made ready for training, and looked into."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from rxt.cli.arguments import check_least, parse_arguments
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.config import Markers, TemplateName
    from rxt.data.prepared.index import ShardNote
    from rxt.data.tokenizer import ChatTokenizer

USAGE = """usage: rxt data ACTION ...

  prepare  write what files hold as tokens, for data of any size: rxt train takes the folder like a file
  convert  write files of other layouts, and chats exported by WhatsApp or Telegram, in our own layout
  inspect  what a prepared folder holds, and what a model will see of it

rxt data ACTION --help tells more."""


@dataclass(frozen=True)
class PrepareOptions:
    """Write what files hold as token shards that training maps into memory instead of reading them. What was stopped
    goes on when the same command is given again."""

    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCE", help_behavior_hint="")]
    """Files, folders, globs, or data sets of the Hub (owner/name:subset:split), as rxt train takes them."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write: a new one, or one that was begun."""
    tokenizer: Annotated[str | None, arg(metavar="TOKENIZER", help_behavior_hint="")] = None
    """A tokenizer.json, a folder with one (a model, a run, prepared data), or a model on the Hub: that of the model to
    be trained."""
    vocab_size: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="")] = None
    """Without a tokenizer: train one of so many tokens on the first 200,000 records."""
    kind: Annotated[
        Literal["text", "interactions", "conversations"] | None,
        arg(name="as", metavar="{text,interactions,conversations}", help_behavior_hint=""),
    ] = None
    """What to take out of the sources: text for stage 1, interactions for stage 2, conversations for the others; what
    the first source holds when not given."""
    template: Annotated[Literal["alpha", "beta"] | None, arg(metavar="{alpha,beta}", help_behavior_hint="")] = None
    """Of the model; by the tokenizer's special tokens when not given."""
    skip_bad_records: bool = False
    """Count and skip bad records instead of stopping at the first."""
    workers: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="")] = None
    """Processes that tokenize; as many as there are cores when not given."""


@dataclass(frozen=True)
class ConvertOptions:
    """Write records of any layout that rxt reads in its own, one JSON object a line; see docs/data.md."""

    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCE", help_behavior_hint="")]
    """Files, folders, globs or data sets of the Hub; or a chat exported by WhatsApp (.txt or .zip) or Telegram
    (result.json)."""
    out: Annotated[Path, arg(metavar="FILE")]
    """A new file; gzipped where its name ends in .gz."""
    answers: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Of a chat: the person whose messages the model is to learn; all others ask."""
    gap: Annotated[float, arg(metavar="HOURS")] = 12.0
    """Of a chat: a longer silence ends a conversation."""
    query: Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint="")] = None
    """Of a table or of records with keys of their own: where the query is."""
    answer: Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint="")] = None
    """… and where the answer is."""
    skip_bad_records: bool = False
    """Count and skip bad records instead of stopping at the first."""


@dataclass(frozen=True)
class InspectOptions:
    """What a prepared folder holds: counts, lengths, samples as a model will see them, and what is cut."""

    folder: Annotated[Positional[str], arg(metavar="DIR")]
    length: Annotated[int, arg(metavar="TOKENS")] = 128
    """The longest interaction of the model (its max_length). Longer ones are shown cut; training makes several turns of
    them (--long)."""
    samples: Annotated[int, arg(metavar="COUNT")] = 3
    seed: int = 0
    """Of the samples."""
    verify: bool = False
    """Compare every file with its checksum; exit code 1 if one differs."""


def run(argv: list[str]) -> int:
    """The verb ``data``."""
    match argv:
        case [] | ["-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["prepare", *rest]:
            return _prepare(parse_arguments(PrepareOptions, "rxt data prepare", rest))
        case ["convert", *rest]:
            return _convert(parse_arguments(ConvertOptions, "rxt data convert", rest))
        case ["inspect", *rest]:
            return _inspect(parse_arguments(InspectOptions, "rxt data inspect", rest))
    raise UserError(f"{argv[0]}: no such action; there are prepare, convert, inspect (rxt data --help)")


def _prepare(options: PrepareOptions) -> int:
    from rxt.data.prepared.prepare import prepare

    if not options.sources:
        raise UserError("name what is to be prepared: rxt data prepare SOURCE … --tokenizer TOKENIZER --out DIR")
    workers = (os.cpu_count() or 1) if options.workers is None else options.workers
    if workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")

    def report(note: ShardNote) -> None:
        print(f"{options.out}/{note.name}: {note.documents:,} records, {note.tokens:,} tokens", flush=True)

    tokenizer, template, markers = _chosen_tokenizer(options)
    index = prepare(
        options.sources,
        tokenizer,
        options.out,
        options.kind,
        options.template or template,
        markers,
        "skip" if options.skip_bad_records else "stop",
        workers,
        report=report,
    )
    skipped = sum(shard.skipped for shard in index.shards)
    if skipped:
        first = next(reason for shard in index.shards for reason in shard.reasons)
        print(f"warning: {skipped} bad records skipped, the first: {first}")
    ignored = Counter[str]()
    for shard in index.shards:
        ignored.update(shard.ignored_keys)
    for key, count in ignored.items():
        print(f"warning: the key {key} is not read; left out of {count} records")
    option = {"text": "--text", "interactions": "--interactions", "conversations": "--data"}[index.plan.kind]
    print(
        f"{options.out}: {index.documents:,} {index.plan.kind}, {index.tokens:,} tokens; train on it with  "
        f"rxt train RECIPE {option} {options.out}"
    )
    return 0


def _chosen_tokenizer(options: PrepareOptions) -> tuple[ChatTokenizer, TemplateName | None, Markers | None]:
    """The tokenizer that is named, or one that is trained on the sources; what was begun has its own already."""
    from rxt.data.prepared.prepare import train_tokenizer
    from rxt.folders import TOKENIZER

    if (options.tokenizer is None) == (options.vocab_size is None):
        raise UserError("name the tokenizer of the model to be trained, --tokenizer, or train one: --vocab-size COUNT")
    if options.tokenizer is not None:
        return _tokenizer(options.tokenizer)
    if (options.out / TOKENIZER).exists():
        return _tokenizer(str(options.out / TOKENIZER))
    assert options.vocab_size is not None
    return train_tokenizer(options.sources, options.vocab_size, options.template or "alpha"), None, None


def _convert(options: ConvertOptions) -> int:
    from datetime import timedelta

    from rxt.data.convert import Columns, convert, left_out_of
    from rxt.data.readers import Tally

    if not options.sources:
        raise UserError("name what is to be converted: rxt data convert SOURCE … --out FILE")
    if (options.query is None) != (options.answer is None):
        raise UserError("--query and --answer: name both columns")
    columns = None
    if options.query is not None and options.answer is not None:
        columns = Columns(options.query, options.answer)
    check_least(options, ("gap", 0))
    tally = Tally("skip" if options.skip_bad_records else "stop")
    made = convert(options.sources, options.out, tally, options.answers, timedelta(hours=options.gap), columns)
    if tally.skipped:
        print(f"warning: {tally.skipped} bad records skipped, the first: {tally.reasons[0]}")
    for key, count in tally.ignored.items():
        print(f"warning: the key {key} is not read; left out of {count} records")
    if made.messages_left_out:
        print(f"left out: {left_out_of(made)}")
    print(f"{options.out}: {made.records:,} records")
    return 0


def _tokenizer(source: str) -> tuple[ChatTokenizer, TemplateName | None, Markers | None]:
    """The tokenizer of a file, a folder or a model, pre-trained ones among them; the model's template and markers."""
    from rxt.config import RxTConfig, read_json
    from rxt.data.tokenizer import ChatTokenizer
    from rxt.folders import model_folder

    path = Path(source).expanduser()
    if path.is_file():
        return ChatTokenizer.load(path), None, None
    folder = path if path.is_dir() else model_folder(source, weights=False)
    described = folder / "config.json"
    values = read_json(described) if described.exists() else None
    if values is None:
        return ChatTokenizer.load(folder), None, None
    if "decoder" in values:
        config = RxTConfig.from_dict(values, str(described))
        return ChatTokenizer.load(folder, config.tokens), config.template, config.markers
    from rxt.interop.base_tokenizer import load_base_tokenizer
    from rxt.interop.published import is_published

    tokenizer = ChatTokenizer.load(folder) if is_published(values) else load_base_tokenizer(folder)
    return tokenizer, None, tokenizer.markers


def _inspect(options: InspectOptions) -> int:
    from rxt.data.prepared.folder import PreparedFolder
    from rxt.data.prepared.report import describe, samples

    check_least(options, ("length", 8), ("samples", 0))
    folder = PreparedFolder.open(options.folder)
    for line in describe(folder, options.length):
        print(line)
    for line in samples(folder, options.length, options.samples, options.seed):
        print(line)
    if not options.verify:
        return 0
    problems = folder.verify()
    for problem in problems:
        print(problem)
    if not problems:
        print("every file is as it was written")
    return 1 if problems else 0
