"""A vocabulary as small as that of the reference checkpoints: special tokens, then words, each one token."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers

from rxt.config import SpecialTokens
from rxt.data.tokenizer import ChatTokenizer

SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[Q]", "[A]", "[MASK]", "[UNK]")
WORDS = ("the", "dog", "cat", "barked", "slept", ".", "good", "bad", "very", "not", "a", "an", "it", "was", "is")


def word_tokenizer(size: int = 48) -> ChatTokenizer:
    """``size`` tokens: the special ones, WORDS, and fillers."""
    words = [*SPECIAL, *WORDS]
    words += [f"w{index}" for index in range(len(words), size)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return ChatTokenizer(tokenizer, SpecialTokens(mask=SPECIAL.index("[MASK]")))
