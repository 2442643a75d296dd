"""The life of a turn: a prompt, an answer token by token, and the memory with both in it.

:class:`rxt.generation.conversation.Conversation` runs one turn after another, the engine (``rxt.engine``) those of many
conversations together; what a turn is stands here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from rxt.data.template import Reply, Template
from rxt.errors import UserError
from rxt.generation.likelihood import Likelihood
from rxt.generation.manner import FAST, Manner
from rxt.generation.remember import memorize_together
from rxt.generation.text_stream import PartStream, TextUntil
from rxt.generation.thinking import Thoughts, most_thinking
from rxt.model.attention import KeyValue
from rxt.model.memory import Memory
from rxt.tools.tool import Tool, ToolCall, tools_text

if TYPE_CHECKING:
    from rxt.model.reactive import ReactiveTransformer

FinishReason = Literal["stop", "length"]
"""``stop``: the model ended its answer; ``length``: it was cut."""


@dataclass(frozen=True)
class Token:
    """One new token of the reply. ``text`` is what became certain of the answer with it: whole characters, perhaps
    none."""

    text: str
    id: int
    likelihood: Likelihood | None = None
    """Where it was asked for."""
    thinking: str = ""
    """What became certain of the thinking."""
    tool_call: str = ""
    """What became certain of the tool call, in JSON."""
    part: str = "answer"
    """The part that it belongs to: ``think``, ``answer`` or ``tool_call``; empty for a marker."""


@dataclass(frozen=True)
class Thought:
    """The thinking, when the reply is complete. Only of a turn in which the model thought."""

    text: str


@dataclass(frozen=True)
class Called:
    """The model has called a tool, and waits for its result; or it has tried to (``call.error``)."""

    call: ToolCall


@dataclass(frozen=True)
class Answered:
    """The answer is complete. It is handed over before the memory is updated."""

    text: str
    finish_reason: FinishReason


@dataclass(frozen=True)
class MemoryUpdated:
    """The turn has been memorized."""

    turn: int
    """Counted from 1."""
    seconds: float
    """Duration of the update, without waiting."""
    change: tuple[float, ...]
    """Mean absolute change of a slot's numbers, one mean for each of the L layers."""
    seen: tuple[int, ...] = ()
    """Of a pool: the fragments, counted from 0, that the answer looked up, the one most like the query first."""
    written: tuple[int, ...] = ()
    """Of a pool: the fragments that the turn was written into, in their order; one that was not seen is new."""


@dataclass(frozen=True)
class Prepared:
    """What a turn starts from: the memory of one conversation."""

    memory: Memory
    memory_kv: list[KeyValue] | None = None
    """The decoder's keys and values of the memory, where they have been projected already."""
    update: MemoryUpdated | None = None
    """What made this memory; None where no turn did."""

    @classmethod
    def fresh(cls, model: ReactiveTransformer, seed: int | None) -> Prepared:
        """For a conversation that has not begun."""
        return cls(model.init_memory(1, seed))

    @classmethod
    def of(cls, model: ReactiveTransformer, memory: Memory) -> Prepared:
        """To go on from a memory, wherever the model is.

        Raises:
            UserError: it is another model's, or not one conversation's.
        """
        if memory.batch_size != 1:
            raise UserError(
                f"this memory holds {memory.batch_size} conversations; take one of them with memory.select(i)"
            )
        model.check_memory(memory)
        weight = model.decoder.embedding.weight
        return cls(memory.to(weight.device, weight.dtype))

    def uncounted(self) -> Prepared:
        """The same, where what was memorized last is no turn of its own: a system prompt, a part of a message."""
        return replace(self, memory=replace(self.memory, turns=(self.memory.turns[0] - 1,)), update=None)

    def for_query(self, model: ReactiveTransformer, prompt: Sequence[int]) -> Prepared:
        """What the turn looks up that begins with ``prompt`` (token ids): all of the memory, whatever is asked."""
        return self

    def choosing(self, chosen: Sequence[int]) -> Prepared:
        """What the turn looks up that saw these fragments: a plain memory has none, and is looked up whole."""
        return self

    def after(self, model: ReactiveTransformer, interaction: Sequence[int]) -> Prepared:
        """With one more interaction (token ids) memorized."""
        return memorize(model, [self], [interaction])[0]

    def save(self, path: str | Path) -> None:
        """Write the memory to a file, whole or not at all."""
        self.memory.save(path)

    @property
    def chosen(self) -> tuple[int, ...]:
        """A plain memory has no fragments."""
        return ()

    @property
    def nbytes(self) -> int:
        """Of all its tensors."""
        return self.memory.nbytes + sum(pair.keys.nbytes + pair.values.nbytes for pair in self.memory_kv or ())


class OpenTurn:
    """A turn that is being answered. Until it has a ``finish_reason`` there is nothing of it to keep or memorize."""

    def __init__(
        self,
        template: Template,
        query: str,
        most: int | None = None,
        stop: Sequence[str] = (),
        manner: Manner = FAST,
        of_tool: bool = False,
        standing: Sequence[Tool] = (),
    ) -> None:
        """
        Args:
            query: a message, or with ``of_tool`` a tool's result.
            most: tokens of the longest answer (with a tool call, if there is one), by default whatever fits into the
                model's length. Thinking is not counted; it has a budget of its own.
            stop: texts before the first of which the answer ends.
            manner: its ``tools`` are told in the internal part.
            standing: tools that the conversation has been told of before; they may be called, too.

        Raises:
            UserError: the query is empty or too long; the template has not the parts for this manner; it chooses a tool
                that is not offered.
        """
        manner.check(template)
        names = {tool.name for tool in manner.tools}
        others = [tool for tool in standing if tool.name not in names]
        self.offered = manner.tool_choice.among([*manner.tools, *others])
        """The tools that may be called."""
        internal = tools_text(manner.told) if manner.told else None
        opened = template.tool_prompt if of_tool else template.prompt
        self.prompt = opened(query, internal, manner.mode)
        self.limit = template.answer_room(self.prompt, most)
        """Tokens of the longest reply."""
        self.thoughts: Thoughts | None = None
        """How thinking begins and ends; what else holds of a reply: :func:`rxt.generation.reply_constraint`."""
        if manner.mode != "fast":
            thinking = most_thinking(template, self.prompt, manner.mode, manner.budget)
            self.thoughts = Thoughts(template, manner.mode, thinking)
            markers = 2
            self.limit = template.answer_room(self.prompt, None if most is None else markers + thinking + most)
        self.said: list[int] = []
        """The reply's tokens so far, [EOS] included where the model came to it. Of an answer that came to a ``stop``
        text, those that its text is made of."""
        self.finish_reason: FinishReason | None = None
        self.thinking_tokens = 0
        """Of those that were said, without markers."""
        self.internal = internal
        """What the model is told beside the query."""
        self.template, self.manner, self.most = template, manner, most
        self._before: int | None = 0 if manner.mode == "fast" else None
        """Tokens that were said up to the answer's marker; None until it comes."""
        self._parts, self._markers = PartStream(template, manner.mode), template.opens_part
        self._until = TextUntil(stop)

    def hear(self, token: int, likelihood: Likelihood | None = None) -> Token:
        """One more token of the reply."""
        self.said.append(token)
        if self._before is None and token == self.template.tokens.answer:
            self._before = len(self.said)
        if token == self.template.tokens.eos:
            self.finish_reason = "stop"
        elif len(self.said) == self.limit or self._answer_is_longest():
            self.finish_reason = "length"
        last = self.finish_reason is not None
        piece = self._parts.push(token, last)
        part = "" if token in self._markers else self._parts.part
        self.thinking_tokens += part == "think" and token != self.template.tokens.eos
        text = self._until.push(piece.answer, last)
        if self._until.reached:
            self.finish_reason = "stop"
            self.said = [*self.said[: self._before], *self.template.tokenizer.encode(self._until.shown)]
        return Token(text, token, likelihood, piece.think, piece.tool_call, part)

    def _answer_is_longest(self) -> bool:
        return self._before is not None and len(self.said) - self._before == self.most

    @property
    def reply(self) -> Reply:
        """The parts of what was said."""
        return self.template.parse(self.said, self.manner.mode)

    def answered(self) -> Answered:
        """The answer, which is complete."""
        assert self.finish_reason is not None
        return Answered(self.reply.answer, self.finish_reason)

    def interaction(self) -> list[int]:
        """What was told and said, to be memorized."""
        assert self.finish_reason is not None
        whole = self.template.complete(self.prompt, self.said)
        return whole if self.manner.memorize_thinking else self.template.without_thinking(whole)


@torch.no_grad()
def memorize(
    model: ReactiveTransformer,
    before: Sequence[Prepared],
    interactions: Sequence[Sequence[int]],
    half: bool = False,
) -> list[Prepared]:
    """Merge one finished interaction (token ids) into each memory, and project what the next turn looks up.

    ``half`` rounds the new memories to half precision, so that they can be kept in half the space and stay what they
    are. The seconds of an update are its share of those of all. Raises as :func:`memorize_together`.
    """
    began = time.perf_counter()
    new = memorize_together(model, [each.memory for each in before], interactions)
    new = [replace(memory, slots=_to_keep(memory.slots, half)) for memory in new]
    changes = [
        (memory.slots - was.memory.slots).abs().float().mean(dim=(1, 2, 3)).tolist()  # (L,); waits for the device
        for was, memory in zip(before, new, strict=True)
    ]
    seconds = (time.perf_counter() - began) / max(1, len(new))
    return [
        Prepared(
            memory,
            model.decoder.project_next(was.memory_kv, memory.slots),
            MemoryUpdated(memory.turns[0], seconds, tuple(change)),
        )
        for was, memory, change in zip(before, new, changes, strict=True)
    ]


def _to_keep(slots: Tensor, half: bool) -> Tensor:
    """Slots (L, 1, S, D) on their own: a view of a batch would keep the whole batch."""
    return slots.half().to(slots.dtype) if half else slots.contiguous()
