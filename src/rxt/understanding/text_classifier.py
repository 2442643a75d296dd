"""A classifier of texts as a user holds it: the network, and the tokenizer it goes with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.model.classifier import SequenceClassifier, read_config
from rxt.understanding.text_encoder import TextEncoder


@dataclass(frozen=True)
class Classified:
    """What a classifier says of a text."""

    label: str
    """The most probable class."""
    probability: float
    probabilities: dict[str, float]
    """Of every class."""


@dataclass(frozen=True)
class TextClassifier:
    """Texts to classes; ``TextClassifier(classifier, tokenizer)(texts)``."""

    classifier: SequenceClassifier
    tokenizer: ChatTokenizer

    @property
    def reader(self) -> TextEncoder:
        """How it reads texts."""
        return TextEncoder(self.classifier.encoder, self.tokenizer)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[Classified]:
        """The class of each text.

        Raises:
            UserError: a text is empty or too long.
        """
        if isinstance(texts, str):
            raise UserError("a classifier takes a list of texts, found a single one; write [text]")
        reader, classes = self.reader, self.classifier.classes
        chances = torch.empty(len(texts), len(classes))
        for places, rows in reader.batches([reader.ids(text) for text in texts]):
            chances[places] = self.classifier(rows.ids, rows.mask).float().softmax(-1).cpu()
        found = [dict(zip(classes, row, strict=True)) for row in chances.tolist()]
        return [Classified(best := max(each, key=each.__getitem__), each[best], each) for each in found]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write network and tokenizer into a folder."""
        self.classifier.save_pretrained(folder, self.tokenizer.tokens)
        self.tokenizer.save(folder)


def load_classifier(
    source: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
) -> TextClassifier:
    """The classifier in a folder, or on the Hugging Face Hub (``owner/name``), as ``rxt train classify`` makes it.

    Raises:
        UserError: there is none, or a file of it is missing or damaged.
    """
    folder = model_folder(source, revision=revision, cache_dir=cache_dir)
    tokens = read_config(folder).tokens
    return TextClassifier(SequenceClassifier.from_pretrained(folder), ChatTokenizer.load(folder, tokens))
