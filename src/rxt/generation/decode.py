"""How tokens follow one another: one step of a decoder, and the loop of steps that answers a batch of prompts.

Everything that generates takes its steps here: :func:`decode_loop` for batches whose prompts begin together (its steps,
:func:`continue_texts`, go on from what any decoder has read), and :class:`rxt.generation.batch.BatchDecoder` for
conversations that come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.compiled import cache_length, compiled_step, pays, plain_step
from rxt.generation.inference_copy import inference_decoder
from rxt.model.attention import KeyValue
from rxt.model.cache import KVCache

if TYPE_CHECKING:
    from rxt.model.decoder import Decoder
    from rxt.model.memory import Memory
    from rxt.model.reactive import ReactiveTransformer

Choose = Callable[[Tensor, Tensor], Tensor]
"""Given logits (R, V) and the rows (R,) of the batch that they belong to, the next token of each: (R,)."""


@dataclass(frozen=True)
class Steps:
    """Single steps of one decoder, compiled or as they are."""

    decoder: Decoder
    compiled: bool = False

    @classmethod
    def of(cls, model: ReactiveTransformer, compiled: bool = False) -> Steps:
        """By the decoder that :func:`inference_decoder` gives."""
        return cls(inference_decoder(model, compiled), compiled)

    def step(self, tokens: Tensor, positions: Tensor, memory: list[KeyValue], cache: KVCache) -> Tensor:
        """Logits (B, V) after one more token each (B,), at ``positions`` (B,)."""
        take = compiled_step(self.decoder) if self.compiled else plain_step
        return take(self.decoder, tokens[:, None], positions[:, None], memory, cache)[:, 0]


class Texts(Protocol):
    """R texts that a decoder has read and can go on with."""

    def step(self, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Logits (R, V) after one more token each (R,), at ``positions`` (R,); the longest text has ``longest`` tokens
        then."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows only."""
        ...


class Begun(NamedTuple):
    """Prompts that have been read."""

    texts: Texts
    logits: Tensor
    """(B, V) after each prompt."""
    lengths: Tensor
    """(B,) tokens of each prompt: also where its next token stands."""
    longest: int
    """The largest of them."""


class Chosen(NamedTuple):
    """The tokens of one step."""

    rows: Tensor
    """(R,): those of the batch that are still being answered."""
    tokens: Tensor
    """(R,): the new token of each, −1 where it has ended."""


@torch.no_grad()
def decode_loop(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    choose: Choose,
    mask: Tensor | None = None,
    stop_at_eos: bool = True,
    look_every: int = 1,
    leave_out: bool = False,
    compiled: bool = False,
    memory_kv: list[KeyValue] | None = None,
) -> Iterator[Chosen]:
    """Continue prompts (B, T), ``mask`` (B, T) False at padding on the right, by what ``choose`` chooses.

    A row ends with [EOS], if ``stop_at_eos``, or when it fills the model's length. Every ``look_every`` steps the
    processor waits for the device to see which rows have ended: the loop ends with the last of them, and ``leave_out``
    takes those that have ended out of the batch.

    Args:
        memory_kv: the decoder's keys and values of ``memory`` where the caller has them already.

    Raises:
        UserError: a prompt, memory or mask that the model cannot take.
    """
    check_prompt(model, ids, memory, max_new_tokens, mask)
    (batch_size, prompt_length), limit = ids.shape, model.config.max_length
    count = steps_left(model, ids, mask, max_new_tokens)
    if count == 0:
        return
    lengths = prompt_lengths(ids, mask)
    decoder = inference_decoder(model)  # of prompts, which are never compiled
    steps = Steps.of(model, compiled and pays(batch_size, ids.device))
    memory_kv = decoder.project_filled(memory.slots) if memory_kv is None else memory_kv
    needed = min(limit, prompt_length + count)
    cache = decoder.new_cache(batch_size, cache_length(needed, limit) if steps.compiled else needed)
    logits = decoder.begin(ids, lengths - 1, memory_kv, cache)
    longest = prompt_length if mask is None else int(lengths.max())
    begun = Begun(_WithMemory(steps, memory_kv, cache, needed), logits, lengths, longest)
    eos = model.config.tokens.eos if stop_at_eos else None
    yield from continue_texts(begun, count, limit, choose, eos, look_every, leave_out)


def continue_texts(
    begun: Begun,
    count: int,
    limit: int,
    choose: Choose,
    eos: int | None,
    look_every: int = 1,
    leave_out: bool = False,
) -> Iterator[Chosen]:
    """The steps of :func:`decode_loop`, ``count`` at most: a row ends with ``eos`` or when it has ``limit`` tokens."""
    texts, logits, lengths, longest = begun
    rows = torch.arange(len(logits), device=logits.device)
    ended = lengths >= limit
    for index in range(1, count + 1):
        tokens = choose(logits, rows)
        yield Chosen(rows, tokens.masked_fill(ended, -1))
        lengths, longest = lengths + 1, longest + 1
        ended = ended | (lengths >= limit)
        if eos is not None:
            ended = ended | (tokens == eos)
        if index == count:
            return
        if eos is not None and index % look_every == 0:
            if bool(ended.all()):
                return
            if leave_out:
                kept = (~ended).nonzero().squeeze(1)
                rows, tokens, lengths, ended = rows[kept], tokens[kept], lengths[kept], ended[kept]
                texts.keep(kept)
                longest = int(lengths.max())
        logits = texts.step(tokens, lengths - 1, longest)


@dataclass
class _WithMemory:
    """Texts of conversations with a memory."""

    steps: Steps
    memory: list[KeyValue]
    cache: KVCache
    needed: int
    """Entries of the cache that are ever used."""

    def step(self, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
        # A row that has filled the cache writes over its own last entry, which nobody looks at any more.
        visible = self.cache if self.steps.compiled else self.cache.first(min(longest, self.needed))
        return self.steps.step(tokens, positions.clamp(max=visible.keys.shape[3] - 1), self.memory, visible)

    def keep(self, rows: Tensor) -> None:
        self.memory = [KeyValue(layer.keys[rows], layer.values[rows]) for layer in self.memory]
        self.cache = self.cache.take(rows)


def check_prompt(
    model: ReactiveTransformer, ids: Tensor, memory: Memory, max_new_tokens: int, mask: Tensor | None
) -> None:
    """Refuse prompts, memories and masks that generation cannot take."""
    if ids.dim() != 2 or 0 in ids.shape:
        raise UserError(
            f"a prompt is a tensor of token ids (B, T) with at least one token, found shape {tuple(ids.shape)}"
        )
    if ids.dtype != torch.long:
        raise UserError(f"token ids are of type torch.int64, found {ids.dtype}")
    if memory.batch_size != ids.shape[0]:
        raise UserError(f"{ids.shape[0]} prompts need as many memories, found {memory.batch_size}")
    if ids.shape[1] > model.config.max_length:
        raise UserError(f"the prompt has {ids.shape[1]} tokens, the model takes at most {model.config.max_length}")
    if max_new_tokens < 0:
        raise UserError(f"max_new_tokens cannot be negative, found {max_new_tokens}")
    if mask is not None:
        if mask.shape != ids.shape:
            raise UserError(f"the mask has shape {tuple(mask.shape)}, the prompts {tuple(ids.shape)}")
        if not bool(mask[:, 0].all()) or bool((mask[:, 1:].bool() & ~mask[:, :-1].bool()).any()):
            raise UserError("the mask must be True for at least one token and False only at padding on the right")
    model.check_memory(memory)


def prompt_lengths(ids: Tensor, mask: Tensor | None) -> Tensor:
    """How many tokens each prompt has: (B,)."""
    return ids.new_full((ids.shape[0],), ids.shape[1]) if mask is None else mask.sum(1)


def steps_left(model: ReactiveTransformer, ids: Tensor, mask: Tensor | None, max_new_tokens: int) -> int:
    """How many tokens the row with the most room can be continued by, ``max_new_tokens`` at most."""
    shortest = ids.shape[1] if mask is None else int(mask.sum(1).min())
    return min(max_new_tokens, model.config.max_length - shortest)
