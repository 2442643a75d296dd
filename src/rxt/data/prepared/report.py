"""What is in a prepared folder, for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rxt.data.fitting import fitted
from rxt.data.markup import Encoded
from rxt.data.prepared.conversations import all_conversations
from rxt.data.prepared.folder import PreparedFolder
from rxt.data.prepared.packing import PackedRows
from rxt.data.prepared.shard import Role
from rxt.data.shuffle import shuffled
from rxt.data.template import Template


def describe(folder: PreparedFolder, max_length: int) -> Iterator[str]:
    """How much there is, how long it is, and what of it a model of ``max_length`` tokens has no room for."""
    index, plan = folder.index, folder.index.plan
    inside = f" of {index.sequences:,} sequences" if plan.kind == "conversations" else ""
    size = sum(file.size for shard in index.shards for file in shard.files)
    yield (
        f"{folder.path}: {index.documents:,} {plan.kind}{inside}, {index.tokens:,} tokens "
        f"({sum(note.targets for note in folder.notes):,} learned), {size / 1e6:,.1f} MB in {len(folder.notes)} shards"
    )
    yield f"from {', '.join(file.name for file in plan.files[:5])}{' …' if len(plan.files) > 5 else ''}"
    yield f"{plan.template} template, a vocabulary of {folder.template.tokenizer.vocab_size}"
    skipped = sum(note.skipped for note in index.shards)
    if skipped:
        yield f"{skipped:,} bad records were skipped, the first: {next(r for n in index.shards for r in n.reasons)}"
    shards = [folder.shard(number) for number in range(len(folder.notes))]
    lengths = np.concatenate([np.diff(shard.sequences) for shard in shards])
    yield f"tokens of a {'text' if plan.kind == 'text' else 'sequence'}: {_spread(lengths)}"
    if plan.kind == "text":
        rows = len(PackedRows.of(folder, "all", max_length))
        yield f"in rows of {max_length} tokens: {rows:,}, {index.tokens / rows / max_length:.0%} full; nothing is cut"
        return
    if plan.kind == "conversations":
        yield f"turns of a conversation: {_spread(np.concatenate([shard.turns for shard in shards]))}"
        yield f"{sum(int(shard.systems.sum()) for shard in shards):,} begin with a system prompt"
    over = lengths[lengths > max_length] - max_length
    yield f"longer than {max_length} tokens: {len(over):,} of {len(lengths):,}, by {int(over.sum()):,} tokens in all"


def _spread(values: NDArray[np.int64]) -> str:
    middle, most = np.percentile(values, (50, 95), method="nearest")
    return f"{values.min():,} to {values.max():,}, half of them at most {middle:,}, 95 % at most {most:,}"


def samples(folder: PreparedFolder, max_length: int, count: int, seed: int) -> Iterator[str]:
    """Some rows or conversations as a model will see them; what it learns to say stands between « and »."""
    tokenizer, plan = folder.template.tokenizer, folder.index.plan
    if plan.kind == "text":
        rows = PackedRows.of(folder, "all", max_length)
        for number in shuffled(len(rows), 0, min(count, len(rows)), str(seed)):
            yield f"\nrow {number}:\n{spelled(folder, rows[number])}"
        return
    whole = all_conversations(folder, "all")
    template = Template(tokenizer, plan.template, max_length, plan.system_title, markers=plan.markers)
    for number in shuffled(len(whole), 0, min(count, len(whole)), str(seed)):
        yield f"\nconversation {number}:"
        piece = whole[number]
        for sequence, role in zip(piece.sequences, piece.roles, strict=True):
            seen = fitted(sequence, template, role == Role.SYSTEM)
            yield spelled(folder, seen) + (f"  (cut: {len(sequence.ids)} tokens)" if seen.cut else "")


def spelled(folder: PreparedFolder, encoded: Encoded) -> str:
    """Tokens as text, the special ones by their names; what is learned between « and »."""
    tokenizer = folder.template.tokenizer
    names = {token: f"[{name.upper()}]" for name, token in vars(tokenizer.tokens).items() if token is not None}

    def text(ids: list[int]) -> str:
        runs = groupby(ids, key=lambda token: token in names)
        return "".join(
            "".join(names[token] for token in run) if special else tokenizer.decode(run) for special, run in runs
        )

    pairs = groupby(zip(encoded.ids, encoded.loss, strict=True), key=lambda pair: pair[1])
    runs = ((learned, text([token for token, _ in run])) for learned, run in pairs)
    return "".join(f"«{said}»" if learned else said for learned, said in runs)
