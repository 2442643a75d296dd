"""Answers that are JSON, of a schema: at every step only a token that may follow can come, and the answer ends in time.

The grammar is llguidance's (the extra ``json``). A model that does not come to an end by itself is made to: of every
token it is known how the answer could be closed after it, and one after which there is no room for that is replaced by
the next token of the way out that is left.
"""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError

if TYPE_CHECKING:
    from llguidance import LLMatcher

OBJECT = '{"type": "object"}'
"""The schema of any object."""
INSIDE = b"?"
"""Stands in texts alone, and so tells whether an answer is inside one."""
CLOSING_TEXT, CLOSING = (b'"',), (b"}]", b'"', b",")
"""Signs that bring an answer to its end from inside a text, and from elsewhere, the best first."""
NOT_ALLOWED = 1000


def can_be_json() -> bool:
    """Whether the library is there."""
    return find_spec("llguidance") is not None


class JsonGrammar:
    """What JSON looks like in the tokens of one tokenizer."""

    def __init__(self, tokenizer: ChatTokenizer, vocab_size: int) -> None:
        """``vocab_size``: V of the model. It takes a moment for a large one."""
        from llguidance import LLTokenizer

        with TemporaryDirectory() as folder:
            path = tokenizer.save(Path(folder))
            if tokenizer.case_marks:  # JSON has no place for marks: its capitals stand as they are
                path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"normalizer": None}))
            self._words = LLTokenizer(
                str(path), n_vocab=vocab_size, eos_token=tokenizer.tokens.eos, slices=LLTokenizer.json_slices()
            )
        self.eos = self._words.eos_token
        words = [self._words.decode_bytes([token]) for token in range(vocab_size)]
        self._in_text = words.index(INSIDE) if INSIDE in words else None
        self._out_of_text, self._out = self._ranks(words, CLOSING_TEXT), self._ranks(words, CLOSING)

    def _ranks(self, words: list[bytes], closing: tuple[bytes, ...]) -> Tensor:
        """(V,): how soon a token brings an answer to its end, the smallest first; among others the longest does."""

        def rank(word: bytes) -> int:
            found = [place for place, signs in enumerate(closing, start=1) if word and set(word) <= set(signs)]
            return min(found, default=NOT_ALLOWED - 1 - min(len(word), 100))

        ranks = torch.tensor([rank(word) for word in words])
        ranks[self.eos] = 0
        return ranks

    def begin(self, schema: str, room: int, spaced: bool = False) -> JsonAnswer:
        """For one answer of a schema (JSON), in at most ``room`` tokens.

        ``spaced``: after each comma and colon a space stands, as in the calls of tools that models learn from.

        Raises:
            UserError: the schema is wrong, or says what the library does not know.
        """
        from llguidance import LLMatcher

        item, key = (", ", ": ") if spaced else (",", ":")
        rules = LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False, "item_separator": item, "key_separator": key}
        )
        matcher = LLMatcher(self._words, rules, log_level=0)
        if matcher.is_error():
            raise UserError(f"the JSON schema cannot be used: {matcher.get_error().splitlines()[0]}")
        return JsonAnswer(self, matcher, room)

    def allowed(self, matcher: LLMatcher) -> Tensor:
        """(V,), True for the tokens that may come next."""
        return torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8).bool()

    def way_out(self, matcher: LLMatcher, most: int) -> list[int] | None:
        """Tokens that end an answer, [EOS] the last of them; None if they are more than ``most``."""
        copy, way = matcher.deep_copy(), list[int]()
        while len(way) < most:
            allowed = self.allowed(copy)
            in_text = self._in_text is None or bool(allowed[self._in_text])
            ranks = self._out_of_text if in_text else self._out
            way.append(int(ranks.masked_fill(~allowed, NOT_ALLOWED).argmin()))
            if way[-1] == self.eos:
                return way
            copy.consume_token(way[-1])
            if copy.is_error():
                return None
        return None


class JsonAnswer:
    """The constraint of one answer. Where its schema has no room at all in the tokens that there are, it is cut as any
    other answer."""

    def __init__(self, grammar: JsonGrammar, matcher: LLMatcher, room: int) -> None:
        self._grammar, self._matcher = grammar, matcher
        self.way = grammar.way_out(matcher, room)
        """How it could be ended from here."""

    def allowed(self) -> Tensor:
        """(V,), True for the tokens that may come next."""
        return self._grammar.allowed(self._matcher)

    def narrow(self, logits: Tensor) -> Tensor:
        return logits.masked_fill(~self.allowed().to(logits.device), -math.inf)

    def take(self, token: int, left: int) -> int:
        after, way = self._after(token, left)
        if way is None and self.way:
            token = self.way[0]
            after, way = self._after(token, left)
        self._matcher, self.way = after, way
        return token

    def _after(self, token: int, left: int) -> tuple[LLMatcher, list[int] | None]:
        after = self._matcher.deep_copy()
        after.consume_token(token)
        ended = token == self._grammar.eos
        return after, [] if ended else self._grammar.way_out(after, left)
