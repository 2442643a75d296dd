"""Words for the masks in a text: the encoder and its masked-language-model head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.published import load_published_component
from rxt.model.encoder import Encoder, SharedEncoder, without_memory
from rxt.model.heads import MLMHead
from rxt.understanding.text_encoder import MASK, TextEncoder, load_text_encoder

MLM_HEAD = "mlm_head"
"""The folder of an MLM head, inside that of its encoder."""


@dataclass(frozen=True)
class Guess:
    """A word that may stand in a mask's place."""

    token: str
    """Without the space before it."""
    probability: float
    """Among the whole vocabulary."""


class FillMask:
    """Guesses the words that [MASK] hides in a text."""

    def __init__(
        self, encoder: Encoder | SharedEncoder, mlm_head: MLMHead, tokenizer: ChatTokenizer | None = None
    ) -> None:
        """
        Args:
            encoder: what it has of memory cross-attention is left out.
            tokenizer: needed for texts; token ids need none.

        Raises:
            UserError: the three do not belong together.
        """
        for part, kinds in ((encoder, (Encoder, SharedEncoder)), (mlm_head, (MLMHead,))):
            if not isinstance(part, kinds):
                raise UserError(f"FillMask takes an encoder and its MLM head, found a {type(part).__name__}")
        width, size = encoder.config.width, encoder.config.vocab_size
        found = mlm_head.dense.in_features, mlm_head.head.out_features
        if found != (width, size):
            raise UserError(
                f"the MLM head is for width {found[0]} and a vocabulary of {found[1]}, the encoder has width {width} "
                f"and a vocabulary of {size}: they do not belong together"
            )
        self.encoder = without_memory(encoder)
        self.mlm_head = mlm_head
        self._reader = None if tokenizer is None else TextEncoder(self.encoder, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        mlm_head: str | Path | None = None,
        tokenizer: str | Path | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Load an encoder, or the encoder of a whole model, and its MLM head.

        Args:
            source: a folder, or ``owner/name`` on the Hugging Face Hub.
            mlm_head: likewise; by default the folder ``mlm_head`` inside ``source``.
            tokenizer: a ``tokenizer.json`` or a folder with one; by default the one beside the encoder.
            revision: of ``source`` on the Hub; ``mlm_head`` is taken from its main branch.

        Raises:
            UserError: a part is missing, or they do not belong together.
        """
        folder = model_folder(source, revision=revision, cache_dir=cache_dir)
        if mlm_head is None and not (folder / MLM_HEAD).is_dir():
            raise UserError(
                f"{source}: has no MLM head, which guesses the words, in a folder {MLM_HEAD}; "
                "name where it is (rxt fill-mask: --mlm-head)"
            )
        head = load_published_component(folder / MLM_HEAD if mlm_head is None else mlm_head, cache_dir=cache_dir)
        if not isinstance(head, MLMHead):
            raise UserError(f"{mlm_head or folder / MLM_HEAD}: holds a {type(head).__name__}, not an MLM head")
        reader = load_text_encoder(folder, tokenizer)
        return cls(reader.encoder, head, reader.tokenizer)

    @torch.inference_mode()
    def logits(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the hidden words at every place of ids (B, T); padding, where ``mask`` (B, T) is False,
        is not looked at."""
        return self.mlm_head(self.encoder(ids, mask)[-1])

    def __call__(self, text: str, top_k: int = 5) -> list[list[Guess]]:
        """The most probable words, best first, for each [MASK] of a text, which may be several; each is guessed
        without the others.

        A space before [MASK] belongs to the hidden word.

        Raises:
            UserError: no [MASK], a text that is too long, a ``top_k`` below 1, or no tokenizer.
        """
        if self._reader is None:
            raise UserError("FillMask needs a tokenizer to read texts: FillMask(encoder, mlm_head, tokenizer)")
        if top_k < 1:
            raise UserError(f"top_k must be at least 1, found {top_k}")
        if MASK not in text:
            raise UserError(f"the text has no {MASK}; write it where a word is to be guessed")
        tokenizer = self._reader.tokenizer
        rows = self._reader.rows([self._reader.masked_ids(text)])
        logits = self.logits(rows.ids, rows.mask)[rows.ids == tokenizer.mask]  # (masks, V)
        chances = logits.float().softmax(-1)[:, : tokenizer.vocab_size]
        best = chances.topk(min(top_k, tokenizer.vocab_size))
        return [
            [
                Guess(piece, chance)
                for token, chance in zip(tokens, found, strict=True)
                if (piece := tokenizer.piece(token)) is not None
            ]
            for tokens, found in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
