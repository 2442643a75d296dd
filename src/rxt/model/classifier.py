"""An encoder, the mean over its tokens, and a linear head: classes of texts, or the one value of a critic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter
from torch import Tensor, nn

from rxt.config import SpecialTokens, parse, read_json
from rxt.config.classifier import ClassifierConfig
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.model.checkpoint import CONFIG
from rxt.model.encoder import Encoder, SharedEncoder
from rxt.model.layers import make_embedding
from rxt.model.weights import Weights, write_weights


def mean_pooled(encoded: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean (B, D) over the tokens of the last layer's output, of encoded texts (L, B, T, D).

    Where ``mask`` (B, T) is False, ``encoded`` is zero, and nothing counts.
    """
    last = encoded[-1]
    return last.mean(1) if mask is None else last.sum(1) / mask.sum(1, keepdim=True)


class SequenceClassifier(nn.Module):
    """Texts to classes: an encoder, the mean over its tokens, and a linear head, which starts with zeros."""

    def __init__(self, encoder: Encoder | SharedEncoder, classes: int | Sequence[str]) -> None:
        """
        Args:
            encoder: used as it is, not copied.
            classes: how many outputs, or their names.

        Raises:
            UserError: there is none, or a name occurs twice.
        """
        super().__init__()
        names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        if not names or len(set(names)) < len(names):
            raise UserError(f"classes must be one at least, each with a name of its own, found {classes!r:.80}")
        self.encoder = encoder
        self.classes = names
        self.head = nn.Linear(encoder.config.width, len(names))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> Tensor:
        """Logits (B, C) of texts (B, T), whose padding ``mask`` (B, T) leaves out.

        ``slots`` (L, B, S, D) is the memory before each text, for encoders that read it; others do not look at it.
        """
        return self.head(self.pooled(ids, mask, slots))

    def pooled(self, ids: Tensor, mask: Tensor | None = None, slots: Tensor | None = None) -> Tensor:
        """What the head reads (B, D): the mean over a text's tokens."""
        return mean_pooled(self.encoder(ids, mask, slots if self.encoder.reads_memory else None), mask)

    def save_pretrained(self, folder: str | Path, tokens: SpecialTokens | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all.

        Args:
            tokens: the special tokens of the tokenizer it goes with, where their texts do not tell.

        Raises:
            UserError: the encoder is its decoder's own layers, so it has no weights to write.
        """
        if isinstance(self.encoder, SharedEncoder):
            raise UserError("the encoder of this classifier is its decoder's own layers, which cannot be saved alone")
        folder = make_folder(Path(folder))
        config = ClassifierConfig(self.encoder.config, self.classes, tokens)
        write_weights(
            folder,
            {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()},
            {"format": "rxt"},
        )
        values = TypeAdapter(ClassifierConfig).dump_python(config, mode="json")
        write_atomically(folder / CONFIG, (json.dumps(values, indent=2) + "\n").encode())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SequenceClassifier:
        """Load what :meth:`save_pretrained` wrote, ready for inference.

        Raises:
            UserError: no classifier there; a tensor is missing, not expected or misshapen.
        """
        folder = Path(folder)
        config = read_config(folder)
        encoder = config.encoder
        with Weights(folder) as weights:
            return weights.make(
                lambda: cls(Encoder(encoder, make_embedding(encoder.vocab_size, encoder.width)), config.classes),
                lambda module: module.state_dict(),
            )


def read_config(folder: Path) -> ClassifierConfig:
    """The ``config.json`` of a classifier's folder."""
    path = folder / CONFIG
    values = read_json(path)
    if "classes" not in values:
        raise UserError(f"{path}: this is no classifier; rxt train classify --from {folder} makes one of a model")
    return parse(TypeAdapter(ClassifierConfig), values, str(path))
