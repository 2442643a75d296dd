"""Texts with labels for training and for judging, as token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from rxt.data.labelled import LabelledText, read_labelled
from rxt.data.records import Records
from rxt.errors import UserError
from rxt.training.classify.config import ClassifyConfig
from rxt.training.file_sources import left_out
from rxt.understanding.text_encoder import TextEncoder


@dataclass(frozen=True)
class Example:
    """A text's tokens and the index of its class."""

    ids: list[int]
    label: int
    pooled: Tensor | None = None
    """(D,) the mean over its tokens, where the encoder that makes it does not change."""


@dataclass(frozen=True)
class Examples:
    """What a run reads: the texts to train on, and those held out."""

    classes: tuple[str, ...]
    """Names, sorted."""
    train: Sequence[LabelledText]
    held: Sequence[LabelledText]
    warnings: tuple[str, ...]

    @classmethod
    def load(cls, config: ClassifyConfig) -> Examples:
        """Read all sources.

        Raises:
            UserError: a record is bad, there is one class only, too few texts to hold any out, or a held-out class that
            training does not know.
        """
        sources = [read_labelled(name, config.on_bad) for name in config.data]
        others = [read_labelled(name, config.on_bad) for name in config.validation_data]
        records = [record for source in sources for record in source]
        classes = tuple(sorted({record.label for record in records}))
        where = ", ".join(config.data)
        if len(classes) < 2:
            raise UserError(
                f"{where}: all texts have the label {records[0].label!r}; a classifier needs two labels at least"
            )
        if others:
            train, held = records, [record for source in others for record in source]
            _check_known(others, classes)
        else:
            train, held = split(records, config.held_out, config.seed)
        missing = sorted(set(classes) - {record.label for record in train})
        if not held or missing:
            lacking = f"label {missing[0]!r} has no text to train on" if missing else "no text can be held out"
            raise UserError(f"{where}: {lacking}; add more texts of each label, or name --validation-data")
        return cls(classes, train, held, tuple(_warnings([*sources, *others], classes, held)))

    def digest(self) -> str:
        """Changes with every text and label, so that a run does not go on with other data."""
        found = hashlib.sha256()
        for part in (self.train, self.held):
            found.update(f"{len(part)}\n".encode())
            for record in part:
                found.update(f"{len(record.text)} {len(record.label)} {record.text}{record.label}".encode())
        return found.hexdigest()[:16]

    def encoded(self, part: Sequence[LabelledText], reader: TextEncoder) -> list[Example]:
        """Texts as token ids, cut where they are too long."""
        index = {name: number for number, name in enumerate(self.classes)}
        return [Example(reader.ids(record.text, cut=True), index[record.label]) for record in part]

    def count_cut(self, reader: TextEncoder) -> int:
        """How many texts the encoder cannot read to their ends."""
        room = reader.max_length - 2
        return sum(len(reader.tokenizer.encode(record.text)) > room for record in (*self.train, *self.held))


def split(records: Sequence[LabelledText], share: float, seed: int) -> tuple[list[LabelledText], list[LabelledText]]:
    """For training, and held out: about a ``share`` of every class's texts, one at least where there are two.

    Which ones is drawn from ``seed`` and the text itself: the same text never lies on both sides.
    """
    texts: dict[str, set[str]] = {}
    for record in records:
        texts.setdefault(record.label, set()).add(record.text)
    chosen: set[str] = set()
    for own in texts.values():
        drawn = sorted(own, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest())
        chosen.update(drawn[: min(max(1, round(share * len(own))), len(own) - 1)])
    return (
        [record for record in records if record.text not in chosen],
        [record for record in records if record.text in chosen],
    )


def _check_known(sources: Sequence[Records[LabelledText]], classes: Sequence[str]) -> None:
    for source in sources:
        for record in source:
            if record.label not in classes:
                raise UserError(
                    f"{source.source}: the label {record.label!r} does not occur in the training data, which has "
                    f"{', '.join(map(repr, classes[:8]))}"
                )


def _warnings(
    sources: Sequence[Records[LabelledText]], classes: Sequence[str], held: Sequence[LabelledText]
) -> Iterator[str]:
    for source in sources:
        yield from left_out(source)
    unjudged = sorted(set(classes) - {record.label for record in held})
    if unjudged:
        yield f"no text is held out of {len(unjudged)} labels, the first: {unjudged[0]!r}"
