"""What a prepared folder says of itself.

::

    DIR/
      plan.json             what is being prepared, and how; a second start goes on with the same only
      tokenizer.json
      00000.json …          a shard that is whole: its counts, its files and their checksums
      00000-tokens.npy      (N,) all token ids of the shard, one sequence after another
      00000-sequences.npy   (Q + 1,) where each sequence begins in the tokens
      00000-roles.npy       (Q,) system prompt, answer to learn, or answer only memorized; not of texts
      00000-documents.npy   (C + 1,) where each conversation begins in the sequences; not of texts
      00000-loss.npy        (⌈N / 8⌉,) one bit a token: what the model must produce; not of texts
      index.json            all shards; it comes last, so a folder that has it is whole

A sequence is an interaction or a text from its [BOS] to its [EOS], however long: what a model has no room for is
divided or cut when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from rxt.config import STRICT, Markers, SpecialTokens, TemplateName, parse, read_json
from rxt.data.fitting import UNLIMITED
from rxt.data.records import OnBad
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import TOKENIZER

Kind = Literal["text", "interactions", "conversations"]
PLAN, INDEX = "plan.json", "index.json"
VERSION = 1


@dataclass(frozen=True)
class SourceFile:
    """A file that is prepared, and how to tell that it is still the same."""

    name: str
    size: int
    ends_sha256: str
    """Of its first and last 64 KiB; of a stream, its commit on the hub."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Plan:
    """All that decides what is written."""

    kind: Kind
    template: TemplateName
    system_title: str
    tokens: SpecialTokens
    markers: Markers | None
    tokenizer: str
    """Its fingerprint."""
    on_bad: OnBad
    shard_characters: int
    files: tuple[SourceFile, ...]
    version: int = VERSION

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class ShardFile:
    """One array of a shard."""

    name: str
    size: int
    sha256: str

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class ShardNote:
    """A shard that is whole."""

    name: str
    rows: int
    """Records read for it, good and bad; the same block of records is never prepared twice."""
    documents: int
    """Conversations, interactions or texts."""
    sequences: int
    tokens: int
    targets: int
    """Tokens that the model must produce."""
    longest: int
    """Of its sequences, in tokens."""
    files: tuple[ShardFile, ...] = ()
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    ignored_keys: Mapping[str, int] = field(default_factory=dict)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Index:
    """A whole folder."""

    plan: Plan
    shards: tuple[ShardNote, ...]

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def documents(self) -> int:
        return sum(shard.documents for shard in self.shards)

    @property
    def sequences(self) -> int:
        return sum(shard.sequences for shard in self.shards)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    @property
    def digest(self) -> str:
        """Of the plan and of all that it says of the files, their sums included."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


PLANS, NOTES, INDEXES = TypeAdapter(Plan), TypeAdapter(ShardNote), TypeAdapter(Index)


def is_prepared(path: str | Path) -> bool:
    """Whether a folder is one that ``rxt data prepare`` wrote, or is writing."""
    folder = Path(path)
    return (folder / PLAN).is_file() or (folder / INDEX).is_file()


def read_index(folder: Path) -> Index:
    """The index of a prepared folder.

    Raises:
        UserError: it is not whole yet, or of a newer version.
    """
    if not (folder / INDEX).exists():
        raise UserError(f"{folder}: is not prepared to its end; the same rxt data prepare command goes on")
    values = read_json(folder / INDEX)
    plan = values.get("plan")
    version = plan.get("version") if isinstance(plan, dict) else None
    if version != VERSION:
        raise UserError(f"{folder}: its format is {version}, this version reads {VERSION}; prepare it again")
    return parse(INDEXES, values, str(folder / INDEX))


def whole_template(tokenizer: ChatTokenizer, plan: Plan) -> Template:
    """The template of a plan, without a limit."""
    return Template(tokenizer, plan.template, UNLIMITED, plan.system_title, markers=plan.markers)


def read_tokenizer(folder: Path, plan: Plan) -> ChatTokenizer:
    """The tokenizer that a folder was prepared with."""
    return ChatTokenizer.load(folder / TOKENIZER, plan.tokens)
