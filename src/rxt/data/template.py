"""The text of an interaction: the one place that puts special tokens into a sequence.

| alpha | ``[BOS] [Q] query [A] answer [EOS]`` |
|---|---|
| beta | ``[BOS] [I] internal [Q] query [T] thinking [A] answer [C] tool call [EOS]`` |
| beta, after a tool | ``[BOS] [I] internal [U] tool result [T] thinking [A] answer [C] tool call [EOS]`` |
| beta, system prompt | ``[BOS] [I] SYSTEM INSTRUCTIONS\\n\\n... [EOS]``, only memorized |

``[I]``, ``[T]`` and ``[C]`` are optional, each with the text that follows it.

Token ids and the loss mask are made together, so they cannot disagree. Every part is tokenized on its own: a prompt is
always the exact beginning of the interaction that grows out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from rxt.config import SYSTEM_PROMPT_TITLE, RxTConfig, TemplateName
from rxt.data.records import Interaction
from rxt.data.tokenizer import BETA_TOKENS, ChatTokenizer
from rxt.errors import UserError

Mode = Literal["fast", "thinking", "auto"]
SHORTEST = 8
"""Of ``max_length``: the markers of a full beta interaction and one token of text."""
_CUT_FIRST = ("query", "tool_use", "internal", "think", "tool_call", "answer")


@dataclass(frozen=True)
class Encoded:
    """A sequence and what of it is learned: ``ids`` and ``loss`` are (T,)."""

    ids: list[int]
    loss: list[bool]
    """True where the model must produce this very token; a trainer scores the prediction made one position earlier."""
    cut: bool = False
    """Something did not fit and was left out."""


@dataclass(frozen=True)
class Reply:
    """What a model said, by part. Text is None where there is no such part."""

    answer: str
    think: str | None = None
    tool_call: str | None = None
    finished: bool = False
    """The model ended by itself, with [EOS]."""


@dataclass(frozen=True)
class _Part:
    """One marked part of an interaction: which marker, its text's ids, and which of the two the model must produce."""

    name: str
    ids: list[int]
    learn_marker: bool
    learn_text: bool


class Template:
    """Interactions, prompts, system prompts and plain texts as token ids, and a model's ids as text again."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        name: TemplateName,
        max_length: int,
        system_title: str = SYSTEM_PROMPT_TITLE,
        reserve: int | None = None,
    ) -> None:
        """
        Args:
            max_length: T, the longest interaction in tokens, markers and [EOS] included.
            system_title: opens a system prompt.
            reserve: tokens that a prompt must leave for the answer and its [EOS]; an eighth of ``max_length`` by
            default.

        Raises:
            UserError: the tokenizer lacks the template's tokens, or a length leaves no room.
        """
        missing = [part for part in BETA_TOKENS if name == "beta" and getattr(tokenizer.tokens, part) is None]
        if missing:
            raise UserError(
                f"template: the beta template needs the special tokens {', '.join(missing)}; this tokenizer has none"
            )
        if max_length < SHORTEST:
            raise UserError(f"template: max_length must be at least {SHORTEST}, found {max_length}")
        self.reserve = max(2, max_length // 8) if reserve is None else reserve
        if not 1 <= self.reserve <= max_length - 4:
            raise UserError(
                f"template: reserve must lie between 1 and max_length - 4 = {max_length - 4}, found {self.reserve}"
            )
        self.tokenizer = tokenizer
        self.tokens = tokenizer.tokens
        self.name = name
        self.max_length = max_length
        self.system_title = system_title

    @classmethod
    def of_model(cls, config: RxTConfig, tokenizer: ChatTokenizer) -> Template:
        """The template that a model was made for.

        Raises:
            UserError: tokenizer and model do not belong together.
        """
        known = config.decoder.vocab_size
        if tokenizer.vocab_size > known:
            raise UserError(
                f"{tokenizer.source}: its vocabulary has {tokenizer.vocab_size} tokens, the model's embedding only "
                f"{known}: they do not belong together"
            )
        for name, token in vars(config.tokens).items():
            found = getattr(tokenizer.tokens, name)
            if token is not None and token != found:
                raise UserError(
                    f"{tokenizer.source}: tokens.{name} is {found}, but {token} in the model: they do not belong "
                    "together"
                )
        return cls(tokenizer, config.template, config.max_length, config.system_prompt_title)

    # Sequences to learn from.

    def interaction(self, interaction: Interaction) -> Encoded:
        """A whole interaction, at most ``max_length`` tokens. Learned is what the model must say, never what it is
        told.

        Learned: the text of thinking, answer and tool call, the markers the model sets itself, and [EOS]. In the beta
        template the first of [T] and [A] counts among those markers (automatic mode: the model decides); in alpha [A]
        belongs to the prompt.

        What does not fit is cut, each part from its end and down to nothing before the next part is touched: the query
        (or tool result), the internal text, the thinking, the tool call, and last the answer. [EOS] always stays.

        Raises:
            UserError: a part that the template has not; a tool's result beside a query.
        """
        parts = self._opening(interaction.query, interaction.tool_use, interaction.internal)
        self._refuse(think=interaction.think, tool_call=interaction.tool_call)
        if interaction.think is not None:
            parts.append(_Part("think", self._ids(interaction.think), True, True))
        parts.append(_Part("answer", self._ids(interaction.answer), self.name == "beta", True))
        if interaction.tool_call is not None:
            parts.append(_Part("tool_call", self._ids(interaction.tool_call), True, True))
        return self._join(parts, learn_eos=True)

    def system(self, text: str) -> Encoded:
        """A system prompt, which is memorized before the first turn and never learned; cut at its end if need be.

        Raises:
            UserError: the alpha template has no system prompt; the text is blank.
        """
        self._refuse(system=text)
        if not text.strip():
            raise UserError("the system prompt is empty")
        return self._join(
            [_Part("internal", self._ids(f"{self.system_title}\n\n{text}"), False, False)], learn_eos=False
        )

    def text(self, text: str) -> list[Encoded]:
        """A plain text for pre-training: everything but [BOS] is learned.

        A text longer than ``max_length`` becomes pieces of nearly equal length. No token is lost: each piece opens with
        [BOS], and only the last one ends with [EOS], because only there the text ends.
        """
        body = self._ids(text)
        if not body:
            return []
        body = [*body, self.tokens.eos]
        pieces = -(-len(body) // (self.max_length - 1))
        bounds = [len(body) * index // pieces for index in range(pieces + 1)]
        chunks = [body[start:end] for start, end in pairwise(bounds)]
        return [Encoded([self.tokens.bos, *chunk], [False] + [True] * len(chunk)) for chunk in chunks]

    # Sequences to go on from.

    def prompt(self, query: str, internal: str | None = None, mode: Mode = "fast") -> list[int]:
        """Everything the model is told: up to [A] (``fast``), up to [T] (``thinking``), or up to the query's end
        (``auto``).

        In automatic mode the next token is the larger of the logits of ``openers``.

        Raises:
            UserError: the query is blank, or leaves less than ``reserve`` tokens for the answer; a part or mode that
            the
                template has not.
        """
        if not query.strip():
            raise UserError("the query is empty")
        return self._prompt(self._opening(query, None, internal), "query", mode)

    def tool_prompt(self, result: str, internal: str | None = None, mode: Mode = "fast") -> list[int]:
        """Like ``prompt``, with a tool's result in the query's place; an empty result is a result."""
        return self._prompt(self._opening("", result, internal), "tool result", mode)

    def prompt_of(self, interaction: Interaction) -> list[int]:
        """The prompt that an interaction grew out of, up to [A]; what was asked is cut where it leaves less than
        ``reserve`` tokens.

        Raises:
            UserError: as ``interaction``.
        """
        parts = self._opening(interaction.query, interaction.tool_use, interaction.internal)
        excess = 2 + sum(1 + len(part.ids) for part in parts) - (self.max_length - self.reserve)
        kept: list[_Part] = []
        for part in reversed(parts):  # what was asked stands last, and is cut first
            taken = min(max(0, excess), len(part.ids))
            excess -= taken
            kept.insert(0, replace(part, ids=part.ids[: len(part.ids) - taken]))
        return self._prompt(kept, "query", "fast")

    @property
    def openers(self) -> tuple[int, ...]:
        """The tokens that may follow a prompt of automatic mode: [A], and [T] in the beta template."""
        think = self.tokens.think
        return (self.tokens.answer,) if self.name == "alpha" or think is None else (self.tokens.answer, think)

    def answer_room(self, prompt: Sequence[int], most: int | None = None) -> int:
        """Tokens that an answer to ``prompt`` may have, ``most`` at most, so that [EOS] still fits after it."""
        room = self.max_length - len(prompt) - 1
        return min(room, most or room)

    def complete(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[int]:
        """The finished interaction, to be memorized: it ends with exactly one [EOS] and fits into ``max_length``.

        What follows an [EOS] in the continuation is left out; where the model was cut off, [EOS] is added.
        """
        said, _ = self._until_eos(continuation)
        interaction = [*prompt, *said]
        return [*interaction[: self.max_length - 1], self.tokens.eos]

    # What the model said.

    def parse(self, ids: Sequence[int], mode: Mode = "fast") -> Reply:
        """The parts of a continuation, by its markers.

        Args:
            ids: what followed the prompt, [EOS] and anything after it included or not.
            mode: of the prompt. It names the part that the continuation begins in: thinking after [T], else the answer.
        """
        self._refuse_mode(mode)
        tokens = self.tokens
        markers = {tokens.think: "think", tokens.answer: "answer", tokens.tool_call: "tool_call"}
        said, finished = self._until_eos(ids)
        parts: dict[str, list[int]] = {"answer": []}
        current = parts.setdefault("think" if mode == "thinking" else "answer", [])
        for token in said:
            if token in markers and (self.name == "beta" or token == tokens.answer):
                current = parts.setdefault(markers[token], [])
            else:
                current.append(token)
        texts = {name: self.tokenizer.decode(part) for name, part in parts.items()}
        return Reply(texts["answer"], texts.get("think"), texts.get("tool_call"), finished)

    def answer_text(self, ids: Sequence[int], mode: Mode = "fast") -> str:
        """The answer in a continuation, without thinking, tool call and special tokens."""
        return self.parse(ids, mode).answer

    # Inside.

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def _marker(self, name: str) -> int:
        token = getattr(self.tokens, name)
        assert token is not None, name  # __init__ and _refuse see to it
        return token

    def _refuse(self, **parts: str | None) -> None:
        names = {
            "think": "thinking",
            "tool_call": "tool call",
            "tool_use": "tool result",
            "internal": "internal",
            "system": "system prompt",
        }
        for part, text in parts.items():
            if self.name == "alpha" and text is not None:
                raise UserError(
                    f"the alpha template has no {names[part]} part; leave it out or use a model with the beta template"
                )

    def _refuse_mode(self, mode: Mode) -> None:
        if self.name == "alpha" and mode != "fast":
            raise UserError(
                f"the alpha template has no thinking part, so no mode {mode!r}; "
                "use 'fast' or a model with the beta template"
            )

    def _opening(self, query: str, tool_use: str | None, internal: str | None) -> list[_Part]:
        """What the model is told: the internal text, then the query or the tool's result."""
        self._refuse(tool_use=tool_use, internal=internal)
        if tool_use is not None and query:
            raise UserError("an interaction has a query or a tool's result, not both; make them two interactions")
        parts = [] if internal is None else [_Part("internal", self._ids(internal), False, False)]
        told = ("query", query) if tool_use is None else ("tool_use", tool_use)
        return [*parts, _Part(told[0], self._ids(told[1]), False, False)]

    def _prompt(self, parts: list[_Part], called: str, mode: Mode) -> list[int]:
        self._refuse_mode(mode)
        ids = [self.tokens.bos]
        for part in parts:
            ids += [self._marker(part.name), *part.ids]
        if mode != "auto":
            ids.append(self._marker("answer" if mode == "fast" else "think"))
        room = self.max_length - self.reserve
        if len(ids) > room:
            raise UserError(
                f"the {called} is too long: with its markers {len(ids)} tokens, at most {room} fit "
                f"(an interaction is {self.max_length} tokens, {self.reserve} are kept for the answer); shorten it"
            )
        return ids

    def _join(self, parts: list[_Part], learn_eos: bool) -> Encoded:
        excess = 2 + sum(1 + len(part.ids) for part in parts) - self.max_length
        kept = {part.name: len(part.ids) for part in parts}
        for name in _CUT_FIRST:
            if excess > 0 and name in kept:
                taken = min(excess, kept[name])
                kept[name] -= taken
                excess -= taken
        ids, loss = [self.tokens.bos], [False]
        for part in parts:
            text = part.ids[: kept[part.name]]
            ids += [self._marker(part.name), *text]
            loss += [part.learn_marker] + [part.learn_text] * len(text)
        cut = any(kept[part.name] < len(part.ids) for part in parts)
        return Encoded([*ids, self.tokens.eos], [*loss, learn_eos], cut)

    def _until_eos(self, ids: Sequence[int]) -> tuple[list[int], bool]:
        ids = list(ids)
        if self.tokens.eos in ids:
            return ids[: ids.index(self.tokens.eos)], True
        return ids, False
