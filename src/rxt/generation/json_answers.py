"""Answers that are JSON, of a schema: at every step only a token that may follow can come, and the answer ends in time.

The grammar is llguidance's (the extra ``json``). A model that does not come to an end by itself is made to: of every
token it is known how the answer could be closed after it, and one after which there is no room for that is replaced by
the next token of the way out that is left.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.marked_words import MARKS, Place, Vocabulary, Words

if TYPE_CHECKING:
    from llguidance import LLMatcher

JSON_EXTRA = "pip install 'reactive-transformers[json]'"
OBJECT = '{"type": "object"}'
"""The schema of any object."""
INSIDE = b"?"
"""Stands in texts alone, and so tells whether an answer is inside one."""
CLOSING_TEXT, CLOSING = (b'"',), (b"}]", b'"', b",")
"""Signs that bring an answer to its end from inside a text, and from elsewhere, the best first."""
NOT_ALLOWED = 1000
KEPT = 128
"""Schemas of one tokenizer that stay compiled, those that were used last."""
DEEPEST_RETURN, MOST_RETURNS = 8, 64
"""Steps of a way out that can be taken back, and how many are."""
LONGEST_WAY = 2**14
"""Tokens of a way out, at most: a schema may have none that ends."""


def can_be_json() -> bool:
    """Whether the library is there."""
    return find_spec("llguidance") is not None


class JsonGrammar:
    """What JSON looks like in the tokens of one tokenizer. A schema is compiled once and kept."""

    def __init__(self, tokenizer: ChatTokenizer, vocab_size: int) -> None:
        """``vocab_size``: V of the model. It takes a moment for a large one."""
        from llguidance import LLTokenizer, TokenizerWrapper

        slices = LLTokenizer.json_slices()
        with TemporaryDirectory() as folder:
            path = tokenizer.save(Path(folder))
            if tokenizer.case_marks:  # the library takes the words below, and knows no such normalizer
                path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"normalizer": None}))
            tokens = LLTokenizer(str(path), n_vocab=vocab_size, eos_token=tokenizer.tokens.eos, slices=slices)
        self.eos = tokenizer.tokens.eos
        none = tokenizer.special_ids.union(token for token in range(vocab_size) if tokens.is_special_token(token))
        spelled = [b"" if token in none else tokens.decode_bytes([token]) for token in range(vocab_size)]
        self.words: Words | None = None
        """What tokens put into a text where that is not what they are."""
        if tokenizer.case_marks:
            self.words = Words(spelled, self.eos)
            tokens = LLTokenizer(TokenizerWrapper(Vocabulary(self.words, tokenizer)), slices=slices)
        self._tokens, self._lead = tokens, tokenizer.lead
        known = spelled if self.words is None else self.words.words
        self._inside = known.index(INSIDE) if INSIDE in known else None
        self._out_of_text, self._out = self._ranks(spelled, CLOSING_TEXT), self._ranks(spelled, CLOSING)
        self._begun = lru_cache(KEPT)(self._compiled)

    def _ranks(self, words: Sequence[bytes], closing: tuple[bytes, ...]) -> Tensor:
        """(V,): how soon a token brings an answer to its end, the smallest first; among others the longest does."""

        def rank(word: bytes) -> int:
            if word in MARKS:  # where nothing else may come; the one that is about a single letter first
                return NOT_ALLOWED - len(MARKS) + [*MARKS].index(word)
            found = [place for place, signs in enumerate(closing, start=1) if word and set(word) <= set(signs)]
            return min(found, default=NOT_ALLOWED - len(MARKS) - max(1, min(len(word), 100)))

        ranks = torch.tensor([rank(word) for word in words])
        ranks[self.eos] = 0
        return ranks

    def begin(self, schema: str, room: int, spaced: bool = False) -> JsonAnswer:
        """For one answer of a schema (JSON), in at most ``room`` tokens.

        ``spaced``: after each comma and colon a space stands, as in the calls of tools that models learn from.

        Raises:
            UserError: the schema is wrong, or says what the library does not know.
        """
        text, way = self._begun(schema, spaced)
        return JsonAnswer(text, way if way is not None and len(way) <= room else None, self.eos)

    def _compiled(self, schema: str, spaced: bool) -> tuple[JsonText, list[int] | None]:
        """An answer that has not begun, and its way out."""
        from llguidance import LLMatcher

        item, key = (", ", ": ") if spaced else (",", ":")
        rules = LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False, "item_separator": item, "key_separator": key}
        )
        if self._lead:
            ruled = json.loads(rules)["grammars"][0]["json_schema"]
            rules = LLMatcher.grammar_from_lark(f"start: {json.dumps(self._lead)} %json {json.dumps(ruled)}")
        matcher = LLMatcher(self._tokens, rules, log_level=0)
        if matcher.is_error():
            raise UserError(f"the JSON schema cannot be used: {matcher.get_error().splitlines()[0]}")
        text = JsonText(self, matcher, Place())
        return text, text.way_out(LONGEST_WAY)

    def ranks(self, words: Tensor) -> Tensor:
        """(V,): how soon a token brings an answer to its end where these words may come."""
        in_text = self._inside is None or bool(words[self._inside])
        return self._out_of_text if in_text else self._out


class JsonText:
    """An answer as far as it has come. It does not change: each token makes a new one."""

    def __init__(self, grammar: JsonGrammar, matcher: LLMatcher, place: Place) -> None:
        self._grammar, self._matcher, self._place = grammar, matcher, place

    def allowed(self) -> Tensor:
        """(V,), True for the tokens that may come next."""
        return self._allowed()[0]

    def _allowed(self) -> tuple[Tensor, Tensor]:
        """Of tokens (V,), and of words, which may come next."""
        found = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        words = self._grammar.words
        return (found if words is None else words.allowed(found, self._place, self._may)), found

    def _may(self, words: list[int]) -> bool:
        return self._matcher.validate_tokens(words) == len(words)

    def after(self, token: int) -> JsonText | None:
        """With one more token; None where it may not come. [EOS] is none of the text."""
        words = self._grammar.words
        read = ([token], self._place) if words is None else words.read(token, self._place)
        if read is None:
            return None
        matcher = self._matcher.deep_copy()
        return JsonText(self._grammar, matcher, read[1]) if matcher.consume_tokens(read[0]) else None

    def way_out(self, most: int) -> list[int] | None:
        """Tokens that end the answer, [EOS] the last of them; None if they are more than ``most``."""
        text, ranks, way = self, self._ranks(), list[int]()
        before, returns = deque[tuple[JsonText, Tensor]](maxlen=DEEPEST_RETURN), 0
        while len(way) < most:
            token = int(ranks.argmin())
            if ranks[token] == NOT_ALLOWED:  # nothing has these capitals: another way
                if not before or returns == MOST_RETURNS:
                    return None
                text, ranks = before.pop()
                ranks[way.pop()] = NOT_ALLOWED
                returns += 1
            elif token == self._grammar.eos:
                return [*way, token]
            elif (following := text.after(token)) is None:
                ranks[token] = NOT_ALLOWED
            else:
                before.append((text, ranks))
                text, ranks = following, following._ranks()
                way.append(token)
        return None

    def _ranks(self) -> Tensor:
        """(V,): how soon a token brings the answer to its end, the smallest first."""
        tokens, words = self._allowed()
        return self._grammar.ranks(words).masked_fill(~tokens, NOT_ALLOWED)


class JsonAnswer:
    """The constraint of one answer. Where its schema has no room at all in the tokens that there are, it is cut as any
    other answer."""

    def __init__(self, text: JsonText, way: list[int] | None, eos: int) -> None:
        self._text, self._eos = text, eos
        self.way = way
        """How it could be ended from here."""

    def allowed(self) -> Tensor:
        """(V,), True for the tokens that may come next."""
        return self._text.allowed()

    def narrow(self, logits: Tensor) -> Tensor:
        allowed = self.allowed()
        if not allowed.any():  # it cannot be completed, and had no room for it from the beginning
            allowed[self._eos] = True
        return logits.masked_fill(~allowed.to(logits.device), -math.inf)

    def take(self, token: int, left: int) -> int:
        text, way = self._after(token, left)
        if way is None and self.way:
            token = self.way[0]
            text, way = self._after(token, left)
        self._text, self.way = text, way
        return token

    def _after(self, token: int, left: int) -> tuple[JsonText, list[int] | None]:
        if token == self._eos:
            return self._text, []
        text = self._text.after(token)
        if text is None:
            return self._text, None
        if self.way and token == self.way[0]:
            return text, self.way[1:] if len(self.way) <= left + 1 else None
        return text, text.way_out(left)


@lru_cache(4)
def json_grammar(tokenizer: ChatTokenizer, vocab_size: int) -> JsonGrammar:
    """The one of a tokenizer, made when it is first asked for and kept."""
    return JsonGrammar(tokenizer, vocab_size)
