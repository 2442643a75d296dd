"""The tokenizer in the metadata of a GGUF file, in the form of a ``tokenizer.json``."""

from __future__ import annotations

from typing import Any

from rxt.errors import UserError
from rxt.interop.gguf_file import GgufFile

BYTE_LEVEL = "gpt2"
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens."""

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
PIECES: dict[str, tuple[str, ...]] = {
    "gpt-2": (WORDS,),
    "smollm": (r"\p{N}", WORDS),
    "llama-bpe": (LLAMA3 % 3,),
    "qwen2": (LLAMA3 % 1,),
}
"""By ``tokenizer.ggml.pre``: merges stay inside the pieces that these expressions match, one after another."""
WHOLE_WORDS = ("llama-bpe",)
"""A piece that is a token is that token, whatever the merges."""
COMPOSED = ("qwen2",)
"""A letter and its accent become one character first (NFC)."""


def tokenizer_values(file: GgufFile) -> dict[str, Any]:
    """A ``tokenizer.json`` as the file's metadata describes it.

    Raises:
        UserError: there is none, or one of another kind than byte-level BPE.
    """
    kind, pieces = file.value("tokenizer.ggml.model"), file.value("tokenizer.ggml.pre", "gpt-2")
    if kind is None:
        raise UserError(f"{file.path}: has no tokenizer in its metadata; take the base as a folder")
    if kind != BYTE_LEVEL or pieces not in PIECES:
        what = kind if kind != BYTE_LEVEL else f"{kind}, {pieces}"
        raise UserError(
            f"{file.path}: its tokenizer ({what}) is not known; those of GGUF files must be byte-level BPE: "
            f"{', '.join(PIECES)}; take the base as a folder, whose tokenizer.json says all"
        )
    words: list[str] = file.value("tokenizer.ggml.tokens", [])
    types: list[int] = file.value("tokenizer.ggml.token_type", [1] * len(words))
    merges: list[str] = file.value("tokenizer.ggml.merges", [])
    added = [
        {
            "id": index,
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL,
        }
        for index, (word, kind) in enumerate(zip(words, types, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in PIECES[pieces]
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if pieces in COMPOSED else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pieces in WHOLE_WORDS,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
