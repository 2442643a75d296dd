"""The text of an interaction: the one place that puts special tokens into a sequence.

| alpha | ``[BOS] [Q] query [A] answer [EOS]`` |
|---|---|
| beta | ``[BOS] [I] internal [Q] query [T] thinking [A] answer [C] tool call [EOS]`` |
| beta, after a tool | ``[BOS] [I] internal [U] tool result [T] thinking [A] answer [C] tool call [EOS]`` |
| beta, system prompt | ``[BOS] [I] SYSTEM INSTRUCTIONS\\n\\n... [EOS]``, only memorized |

``[I]``, ``[T]`` and ``[C]`` are optional, each with the text that follows it.

A pre-trained model keeps the chat template it came with: its markers, of several tokens each, stand for those of alpha,
and a system prompt is written as it writes one. Its texts lose the white space at their ends. As beta, ``[I]`` is a
system message before the query, ``[T]``, ``[A]``, ``[C]`` and ``[U]`` are special tokens that the base has no use for,
and ``[I]`` is not memorized: a memory of tokens has no room for what is told anew in every turn.

Token ids and the loss mask are made together, so they cannot disagree. Every part is tokenized on its own: a prompt is
always the exact beginning of the interaction that grows out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from rxt.config import SYSTEM_PROMPT_TITLE, Markers, RxTConfig, TemplateName
from rxt.data.markup import SAID, Encoded, Markup, Part
from rxt.data.records import Interaction
from rxt.data.tokenizer import BETA_TOKENS, PARTS_ON_BASE, ChatTokenizer
from rxt.errors import UserError

Mode = Literal["fast", "thinking", "auto"]
SHORTEST = 8
"""Of ``max_length``: the markers of a full beta interaction and one token of text."""
_CALLED = {"think": "thinking", "tool_call": "tool call", "tool_use": "tool result", "internal": "internal"}


@dataclass(frozen=True)
class Reply:
    """What a model said, by part. Text is None where there is no such part."""

    answer: str
    think: str | None = None
    tool_call: str | None = None
    finished: bool = False
    """The model ended by itself, with [EOS]."""


class Template:
    """Interactions, prompts, system prompts and plain texts as token ids, and a model's ids as text again."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        name: TemplateName,
        max_length: int,
        system_title: str = SYSTEM_PROMPT_TITLE,
        reserve: int | None = None,
        markers: Markers | None = None,
    ) -> None:
        """
        Args:
            max_length: T, the longest interaction in tokens, markers and [EOS] included.
            system_title: opens a system prompt.
            reserve: tokens that a prompt must leave for the answer and its [EOS]; an eighth of ``max_length`` by
            default.
            markers: those of a pre-trained model's chat template.

        Raises:
            UserError: the tokenizer lacks the template's tokens, or a length leaves no room.
        """
        if name == "beta":
            _check_beta(tokenizer, markers)
        if markers is None:
            self.markup = Markup.of_tokens(tokenizer.tokens, name)
        else:
            self.markup = Markup.of_base(markers, tokenizer.tokens, name)
        shortest, marks = max(SHORTEST, self.markup.size + 2), self.markup.size
        if max_length < shortest:
            raise UserError(f"template: max_length must be at least {shortest}, found {max_length}")
        self.reserve = max(2, max_length // 8) if reserve is None else reserve
        if not 1 <= self.reserve <= max_length - marks:
            raise UserError(
                f"template: reserve must lie between 1 and max_length - {marks} = {max_length - marks}, "
                f"found {self.reserve}"
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
        if config.markers is not None and tokenizer.markers not in (None, config.markers):
            raise UserError(
                f"{tokenizer.source}: its chat template has other markers than the model's: they do not belong together"
            )
        return cls(tokenizer, config.template, config.max_length, config.system_prompt_title, markers=config.markers)

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
            parts.append(self._part("think", interaction.think, True, True))
        parts.append(self._part("answer", interaction.answer, not self.markup.told, True))
        if interaction.tool_call is not None:
            parts.append(self._part("tool_call", interaction.tool_call, True, True))
        return self.markup.whole(parts, self.max_length)

    def of_pieces(self, query: list[int], answer: list[int], learned: bool) -> Encoded:
        """An interaction of token ids, ``learned`` from the answer on, or not at all. Nothing is cut."""
        before, end = self.markup.begun([Part("query", query), Part("answer")]), self.markup.end
        ids = [*before, *answer, *end]
        return Encoded(ids, [False] * len(before) + [learned] * (len(ids) - len(before)))

    def system(self, text: str) -> Encoded:
        """A system prompt, which is memorized before the first turn and never learned; cut at its end if need be.

        Raises:
            UserError: the template has no system prompt; the text is blank.
        """
        if not text.strip():
            raise UserError("the system prompt is empty")
        system = self.markup.system
        if system is None:
            raise UserError(_no_part(self.name, "system prompt"))
        opened = f"{self.system_title}\n\n{text}" if system.titled else text
        ids, room = self._ids(opened, system.before.space), self.max_length - len(system.before.ids) - len(system.end)
        kept = ids[: max(0, room)]
        whole = [*system.before.ids, *kept, *system.end]
        return Encoded(whole, [False] * len(whole), len(kept) < len(ids))

    def text(self, text: str) -> list[Encoded]:
        """A plain text for pre-training: everything but [BOS] is learned.

        A text longer than ``max_length`` becomes pieces of nearly equal length. No token is lost: each piece opens with
        [BOS], and only the last one ends with [EOS], because only there the text ends.
        """
        body = self._ids(text)
        if not body:
            return []
        body = [*body, self.tokens.eos]
        begin = self.markup.begin
        pieces = -(-len(body) // (self.max_length - len(begin)))
        bounds = [len(body) * index // pieces for index in range(pieces + 1)]
        chunks = [body[start:end] for start, end in pairwise(bounds)]
        told = max(1, len(begin))  # nothing stands before the first token that could predict it
        return [Encoded(ids, [False] * told + [True] * (len(ids) - told)) for ids in ([*begin, *c] for c in chunks)]

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

    def opened(self, query: str, of_tool: bool = False, internal: str | None = None) -> list[int]:
        """As ``prompt`` or ``tool_prompt`` in mode ``fast``, for a query that may be blank, and of any length."""
        asked = self._opening("", query, internal) if of_tool else self._opening(query, None, internal)
        return self.markup.begun([*asked, Part("answer")])

    def prompt_of(self, interaction: Interaction, mode: Mode = "fast") -> list[int]:
        """The prompt that an interaction grew out of, as ``prompt``; what was asked is cut where it leaves less than
        ``reserve`` tokens.

        Raises:
            UserError: as ``interaction``.
        """
        parts = self._opening(interaction.query, interaction.tool_use, interaction.internal)
        excess = len(self.markup.begun([*parts, Part("answer")])) - (self.max_length - self.reserve)
        kept: list[Part] = []
        for part in reversed(parts):  # what was asked stands last, and is cut first
            taken = min(max(0, excess), len(part.ids))
            excess -= taken
            kept.insert(0, replace(part, ids=part.ids[: len(part.ids) - taken]))
        return self._prompt(kept, "query", mode)

    def require(self, part: str) -> None:
        """Raises ``UserError`` where the template has not this part."""
        if part not in self.markup.parts:
            raise UserError(_no_part(self.name, _CALLED[part]))

    @property
    def has_tools(self) -> bool:
        """Whether a model of this template can call tools, and think: one part does not come without the others."""
        return "tool_call" in self.markup.parts

    @property
    def tells_anew(self) -> bool:
        """Whether a turn has to be told of its tools itself, since what stands beside a query is not memorized."""
        return not self.markup.internal_memorized

    @property
    def opens_part(self) -> frozenset[int]:
        """Tokens that the model begins a part with, in templates of several parts."""
        parts = self.markup.parts
        return frozenset(parts[name].ids[0] for name in SAID) if self.has_tools else frozenset()

    @property
    def openers(self) -> tuple[int, ...]:
        """The tokens that may follow a prompt of automatic mode: [A], and [T] in the beta template."""
        parts = self.markup.parts
        return tuple(parts[name].ids[0] for name in ("answer", "think") if name in parts)

    def answer_room(self, prompt: Sequence[int], most: int | None = None) -> int:
        """Tokens that an answer to ``prompt`` may have, ``most`` at most, so that its end still fits after it."""
        room = self.max_length - len(prompt) - len(self.markup.end)
        return min(room, most or room)

    def complete(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[int]:
        """What is memorized of the finished interaction: all of it, or all but an internal part that is told anew."""
        whole = self.finished(prompt, continuation)
        start, stop = self.markup.aside(whole)
        return [*whole[:start], *whole[stop:]]

    def finished(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[int]:
        """The finished interaction: it ends with exactly one [EOS] and fits into ``max_length``.

        What follows an [EOS] in the continuation is left out; where the model was cut off, [EOS] is added, with what
        stands before it in the template.
        """
        said, finished = self._until_eos(continuation)
        interaction, end = [*prompt, *said], [self.tokens.eos] if finished else self.markup.end
        return [*interaction[: self.max_length - len(end)], *end]

    def without_thinking(self, interaction: Sequence[int]) -> list[int]:
        """A finished interaction as if the model had answered at once."""
        ids = list(interaction)
        if "think" not in self.markup.parts or (think := self.tokens.think) not in ids:
            return ids
        start, ends = ids.index(think), {self.tokens.answer, self.tokens.tool_call, self.tokens.eos}
        return [*ids[:start], *ids[next(at for at in range(start + 1, len(ids)) if ids[at] in ends) :]]

    # What the model said.

    def parse(self, ids: Sequence[int], mode: Mode = "fast") -> Reply:
        """The parts of a continuation, by its markers.

        Args:
            ids: what followed the prompt, [EOS] and anything after it included or not.
            mode: of the prompt. It names the part that the continuation begins in: thinking after [T], else the answer.
        """
        self._refuse_mode(mode)
        starts = {self.markup.parts[name].ids: name for name in SAID if name in self.markup.parts}
        said, finished = self._until_eos(ids)
        current = "think" if mode == "thinking" else "answer"
        parts: dict[str, list[list[int]]] = {"answer": [[]], current: [[]]}
        for token in self.markup.without_end(said) if finished else said:
            opened = starts.get((token,))
            if opened is None:
                parts[current][-1].append(token)
            elif opened != current:  # a part that comes again goes on, but no character reaches over a marker
                parts.setdefault(opened, []).append([])
                current = opened
        texts = {name: "".join(self.text_of(name, ids) for ids in pieces) for name, pieces in parts.items()}
        return Reply(texts["answer"], texts.get("think"), texts.get("tool_call"), finished)

    def answer_text(self, ids: Sequence[int], mode: Mode = "fast") -> str:
        """The answer in a continuation, without thinking, tool call and special tokens."""
        return self.parse(ids, mode).answer

    # Inside.

    def ids_of(self, name: str, text: str) -> list[int]:
        """The text of a part as token ids, with the space that belongs to its marker."""
        return self._ids(text, self.markup.parts[name].space)

    def _ids(self, text: str, space: bool = False) -> list[int]:
        text = text.strip() if self.markup.trimmed else text
        return self.tokenizer.encode(f" {text}" if space and text else text)

    def text_of(self, name: str, ids: list[int]) -> str:
        """The text of a part, without the space that belongs to its marker."""
        text = self.tokenizer.decode(ids)
        return text.removeprefix(" ") if self.markup.parts[name].space else text

    def _part(self, name: str, text: str, learn_marker: bool = False, learn_text: bool = False) -> Part:
        return Part(name, self.ids_of(name, text), learn_marker, learn_text)

    def _refuse(self, **parts: str | None) -> None:
        for name, text in parts.items():
            if text is not None:
                self.require(name)

    def _refuse_mode(self, mode: Mode) -> None:
        if self.name == "alpha" and mode != "fast":
            raise UserError(
                f"the alpha template has no thinking part, so no mode {mode!r}; "
                "use 'fast' or a model with the beta template"
            )

    def _opening(self, query: str, tool_use: str | None, internal: str | None) -> list[Part]:
        """What the model is told: the internal text, then the query or the tool's result."""
        self._refuse(tool_use=tool_use, internal=internal)
        if tool_use is not None and query:
            raise UserError("an interaction has a query or a tool's result, not both; make them two interactions")
        parts = [] if internal is None else [self._part("internal", internal)]
        told = ("query", query) if tool_use is None else ("tool_use", tool_use)
        return [*parts, self._part(*told)]

    def _prompt(self, parts: list[Part], called: str, mode: Mode) -> list[int]:
        self._refuse_mode(mode)
        asked = [] if mode == "auto" else [Part("answer" if mode == "fast" else "think")]
        ids = self.markup.begun([*parts, *asked])
        room = self.max_length - self.reserve
        if len(ids) > room:
            told = " and internal part" if any(part.name == "internal" for part in parts) else ""
            raise UserError(
                f"the {called} is too long: with its markers{told} {len(ids)} tokens, at most {room} fit "
                f"(an interaction is {self.max_length} tokens, {self.reserve} are kept for the answer); shorten it"
            )
        return ids

    def _until_eos(self, ids: Sequence[int]) -> tuple[list[int], bool]:
        ids = list(ids)
        if self.tokens.eos in ids:
            return ids[: ids.index(self.tokens.eos)], True
        return ids, False


def _check_beta(tokenizer: ChatTokenizer, markers: Markers | None) -> None:
    needed = BETA_TOKENS if markers is None else PARTS_ON_BASE
    missing = [part for part in needed if getattr(tokenizer.tokens, part) is None]
    if missing:
        raise UserError(
            f"template: the beta template needs the special tokens {', '.join(missing)}; this tokenizer has none"
        )
    if markers is not None and markers.system is None:
        raise UserError("template: the beta template needs system messages, which this chat template has not")


def _no_part(template: str, part: str) -> str:
    return f"the {template} template has no {part} part; leave it out or use a model with the beta template"
