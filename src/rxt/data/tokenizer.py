"""The tokenizer: byte-level BPE that gives back every text exactly and never makes a special token out of text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from rxt.config import Markers, SpecialTokens, TemplateName
from rxt.data import casing
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.folders import TOKENIZER

TOKEN_TEXTS = {
    "pad": "[PAD]",
    "bos": "[BOS]",
    "eos": "[EOS]",
    "query": "[Q]",
    "answer": "[A]",
    "think": "[T]",
    "tool_call": "[C]",
    "tool_use": "[U]",
    "internal": "[I]",
    "mask": "[MASK]",
}
"""Field of ``SpecialTokens`` -> the token as it stands in a ``tokenizer.json``; the order of the ids of a new one."""

CORE_TOKENS = ("pad", "bos", "eos", "query", "answer")
PARTS_ON_BASE = ("answer", "think", "tool_call", "tool_use")
"""What needs a token of its own in the chat template of a pre-trained model, for interactions of several parts."""
BETA_TOKENS = ("think", "tool_call", "tool_use", "internal")
BYTES = 256
WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Merges stay inside these pieces: words, signs, spaces, and single digits, so that a number never seen before is no
rare token."""
MARKS = casing.UP + casing.CAPS
MARKED_WORDS = (
    rf"[{MARKS}]|'(?:[sdmt]|ll|ve|re)(?!\p{{L}})| ?\p{{L}}+| ?\p{{N}}| ?[^\s\p{{L}}\p{{N}}{MARKS}]+|\s+(?!\S)|\s+"
)
"""The same with case marks, each a piece of its own; o'sullivan is o, ' and sullivan, as O'Sullivan must be."""


class ChatTokenizer:
    """Text to token ids and back, with the ids of the tokens that structure an interaction in ``tokens``.

    ``decode(encode(text)) == text`` for every Unicode text (with case marks, for all but the capitals named in
    ``train``), and ``encode`` yields no id of ``tokens`` whatever the text
    says: a query that contains ``[A]`` stays text. Only ``Template`` puts special tokens into a sequence.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokens: SpecialTokens,
        source: str = "tokenizer",
        prefix: str = "",
        case_marks: bool = False,
        markers: Markers | None = None,
        unused: Collection[int] = (),
    ) -> None:
        """
        Args:
            tokenizer: used as it is, except that special tokens in text, padding and truncation are turned off.
            tokens: the special tokens' ids in it.
            source: its name in messages, such as the file it came from.
            prefix: stands before every text that is encoded, and is taken off again when ids are decoded.
            case_marks: ``tokenizer`` has the normalizer of ``rxt.data.casing``, which brings a prefix of its own.
            markers: those of the chat template that it came with, where it is a pre-trained model's.
            unused: special tokens that the pre-trained model has no use for.

        Raises:
            UserError: an id is outside the vocabulary or stands for two parts (padding aside, for which [EOS] may
            stand), or plain text would become a special
            token.
        """
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._prefix = prefix
        self.case_marks = case_marks
        self.source = source
        self.tokens = tokens
        self.markers = markers
        self.unused = tuple(sorted(unused))
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        """V: one more than the largest id."""
        ids = [token for token in vars(tokens).values() if token is not None]
        added = tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset({*ids, *(token for token, content in added.items() if content.special)})
        if len(set(ids)) + (tokens.pad == tokens.eos) < len(ids):
            raise UserError(f"{source}: two special tokens share one id: {tokens}")
        for name, token in vars(tokens).items():
            if token is None:
                continue
            text = tokenizer.id_to_token(token)
            if text is None:
                raise UserError(
                    f"{source}: has no token {token}, the id given for tokens.{name}; "
                    f"its vocabulary has {self.vocab_size}"
                )
            if not self.special_ids.isdisjoint(self.encode(text)):
                raise UserError(
                    f"{source}: the plain text {text} becomes a special token, so users could forge one; "
                    "use another tokenizer"
                )

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        template: TemplateName = "alpha",
        case_marks: bool = False,
        piece_length: int | None = None,
    ) -> ChatTokenizer:
        """Learn a vocabulary of at most ``vocab_size`` tokens: special tokens, 256 bytes, then merges seen twice or
        more.

        Ids of the special tokens: pad 0, bos 1, eos 2, query 3, answer 4; alpha: mask 5; beta: think 5, tool_call 6,
        tool_use 7, internal 8, mask 9. The same texts give the same vocabulary.

        Args:
            case_marks: capitals are marks before small letters (``rxt.data.casing``), so that a word has the same
                pieces however it is written. Capitals that share their small letter with another come back as that
                one: ϴ, the signs of Kelvin, Ångström and Ohm, and ǅ, ǈ, ǋ, ǲ; İ comes back in two parts (I, dot
                above); letters newer than Unicode 15 may come back small.
            piece_length: the longest merge in bytes (a space before it counts); an ASCII letter is one.

        Raises:
            UserError: ``vocab_size`` has no room for the bytes and special tokens, ``piece_length`` is below 2, or
            there is no text.
        """
        names = (*CORE_TOKENS, *(BETA_TOKENS if template == "beta" else ()), "mask")
        least = BYTES + len(names)
        if vocab_size < least:
            raise UserError(
                f"tokenizer: vocab_size must be at least {least} (256 bytes and {len(names)} special tokens), "
                f"found {vocab_size}"
            )
        if piece_length is not None and piece_length < 2:
            raise UserError(f"tokenizer: piece_length must be at least 2, found {piece_length}")
        tokenizer = Tokenizer(models.BPE())
        if case_marks:
            tokenizer.normalizer = casing.normalizer()
        split = pre_tokenizers.Split(Regex(MARKED_WORDS if case_marks else WORDS), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[TOKEN_TEXTS[name] for name in names],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            max_token_length=None if piece_length is None else piece_length + 1,  # the library stops below it
            show_progress=False,
        )
        seen = False

        def counted() -> Iterable[str]:
            nonlocal seen
            for text in texts:
                seen = True
                yield text

        tokenizer.train_from_iterator(counted(), trainer)
        if not seen:
            raise UserError("tokenizer: there is no text to train on")
        tokens = SpecialTokens(**{name: index for index, name in enumerate(names)})
        return cls(tokenizer, tokens, case_marks=case_marks)

    @classmethod
    def load(cls, path: str | Path, tokens: SpecialTokens | None = None) -> ChatTokenizer:
        """Read a ``tokenizer.json``, or the one in a folder.

        Args:
            tokens: the special tokens' ids in a file of another make; by default they are found by their texts (``[Q]``
            …).

        A byte-level tokenizer that puts a space before a text does so here too, but always exactly one, and it is taken
        off again: no text comes back with a space that it had not. One that names no decoder gets the byte-level one.

        Raises:
            UserError: no such file, it is no tokenizer, it has not the special tokens, or other ids than ``tokens`` for
            them;
                the message names the file.
        """
        path = Path(path)
        path = path / TOKENIZER if path.is_dir() else path
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            tokenizer = Tokenizer.from_str(json.dumps(values))
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); a model folder holds a tokenizer.json"
            ) from None
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error})") from None
        except Exception as error:  # the library raises bare Exception for a file it cannot read
            raise UserError(f"{path}: not a tokenizer ({str(error).splitlines()[0]})") from None
        tokens = _find_tokens(tokenizer, path) if tokens is None else tokens
        ids = set(vars(tokens).values())
        for added in values.get("added_tokens") or ():
            added["special"] = added["special"] or added["id"] in ids
            for name, text in TOKEN_TEXTS.items():
                expected = getattr(tokens, name)
                if added["content"] == text and expected not in (None, added["id"]):
                    raise UserError(
                        f"{path}: {text} has the id {added['id']}, but the configuration's tokens.{name} is {expected}"
                    )
        byte_levels = list(_byte_levels(values.get("pre_tokenizer")))
        prefix = " " if any(step.get("add_prefix_space", True) for step in byte_levels) else ""
        for step in byte_levels:
            step["add_prefix_space"] = False
        if byte_levels and values.get("decoder") is None:
            values["decoder"] = {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": False,
                "use_regex": False,
            }
        case_marks = casing.is_marking(values.get("normalizer"))
        return cls(Tokenizer.from_str(json.dumps(values)), tokens, str(path), prefix, case_marks)

    def save(self, path: str | Path) -> Path:
        """Write ``path``, or ``tokenizer.json`` in it when it does not end in ``.json``; whole or not at all. Returns
        the file."""
        path = Path(path)
        path = path if path.suffix == ".json" else path / TOKENIZER
        values = json.loads(self._tokenizer.to_str())
        for step in _byte_levels(values["pre_tokenizer"]):
            step["add_prefix_space"] = bool(self._prefix)
        make_folder(path.parent)
        write_atomically(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
        return path

    @cached_property
    def fingerprint(self) -> str:
        """The same for tokenizers that give every text the same ids."""
        values = json.loads(self._tokenizer.to_str())
        decisive = [values["model"], values["normalizer"], values["pre_tokenizer"], self._prefix, vars(self.tokens)]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, none of them special. A lone surrogate, which is not Unicode text, is a ``UserError``."""
        return self._encode(self._prefix, text)

    def encode_around(self, text: str, mark: str, token: int) -> list[int]:
        """The ids of a text in which every ``mark`` stands for ``token``.

        A space before the mark belongs to the hidden word, as in pieces that begin with the space before them.
        """
        first, *others = text.split(mark)
        ids = self.encode(first.removesuffix(" ") if others else first)
        for index, part in enumerate(others, start=1):
            ids.append(token)
            ids += self.encode_on(part.removesuffix(" ") if index < len(others) else part)
        return ids

    def _encode(self, prefix: str, text: str) -> list[int]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError("the text holds half of a surrogate pair, which is not Unicode; remove it") from None
        return self._tokenizer.encode(prefix + text, add_special_tokens=False).ids if text else []

    def encode_on(self, text: str) -> list[int]:
        """The ids of a text that goes on from another, so that no prefix stands before it."""
        if not self.case_marks:
            return self._encode("", text)
        before = self.encode("0")  # a digit is a piece of its own, whatever follows it
        return self.encode(f"0{text}")[len(before) :]

    def having(self, parts: SpecialTokens) -> ChatTokenizer:
        """The tokenizer of a pre-trained model with the markers ``PARTS_ON_BASE`` of ``parts``; its own special tokens
        stay as they are. Raises ``UserError`` as when it is made."""
        tokens = replace(self.tokens, **{name: getattr(parts, name) for name in PARTS_ON_BASE})
        return ChatTokenizer(
            self._tokenizer, tokens, self.source, self._prefix, self.case_marks, self.markers, self.unused
        )

    @property
    def mask(self) -> int:
        """What stands for a hidden token: [MASK], or [PAD] in a vocabulary without it, as in training."""
        if self.tokens.mask is not None:
            return self.tokens.mask
        found = self._tokenizer.token_to_id(TOKEN_TEXTS["mask"])
        return self.tokens.pad if found is None else found

    def piece(self, token: int) -> str | None:
        """A token as a word, without the space before it; one that is no text as the vocabulary writes it; None where
        there is no such token."""
        return self.decode([token]).strip() or self._tokenizer.id_to_token(token)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens left out. Half of a character becomes U+FFFD."""
        return self.reading().push(self.spell(ids))

    def show(self, ids: Iterable[int]) -> str:
        """What ids stand for, special tokens in sight: for people, not for models."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def spell(self, ids: Iterable[int]) -> str:
        """What ids stand for as they are, special tokens left out: with the prefix, and capitals still marks."""
        return self._tokenizer.decode(
            [index for index in ids if index not in self.special_ids], skip_special_tokens=True
        )

    def reading(self, prefix: str = "") -> casing.Reading:
        """Makes the text of what ids spell, piece by piece, from its beginning on; ``prefix`` is taken off too."""
        return casing.Reading(self.lead if self.case_marks else self.lead + prefix, self.case_marks)

    @property
    def lead(self) -> str:
        """What stands before every text that is encoded, and is none of it."""
        return casing.SPACE if self.case_marks else self._prefix


def _byte_levels(step: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The byte-level steps of a ``pre_tokenizer``, which may be a sequence of several."""
    if step is None:
        return
    if step["type"] == "ByteLevel":
        yield step
    for inner in step.get("pretokenizers") or ():
        yield from _byte_levels(inner)


def _find_tokens(tokenizer: Tokenizer, path: Path) -> SpecialTokens:
    found = {name: token for name, text in TOKEN_TEXTS.items() if (token := tokenizer.token_to_id(text)) is not None}
    missing = [TOKEN_TEXTS[name] for name in CORE_TOKENS if name not in found]
    if missing:
        raise UserError(
            f"{path}: has no token {', '.join(missing)}; say which ids stand for the special tokens (SpecialTokens)"
        )
    return SpecialTokens(**found)
