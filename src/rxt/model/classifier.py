"""An encoder, the mean over its tokens, and a linear head: classes of texts, or the one value of a critic."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rxt.errors import UserError
from rxt.model.encoder import Encoder, SharedEncoder


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
        encoded = self.encoder(ids, mask, slots if self.encoder.reads_memory else None)
        return self.head(mean_pooled(encoded, mask))
