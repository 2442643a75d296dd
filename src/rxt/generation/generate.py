"""Continue prompts token by token: the memory is read once, every later step runs on a preallocated cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.compiled import cache_length, compiled_step, pays, plain_step
from rxt.generation.inference_copy import inference_decoder
from rxt.generation.sampling import Sampling, SamplingBatch, sample

if TYPE_CHECKING:
    from rxt.model.attention import KeyValue
    from rxt.model.memory import Memory
    from rxt.model.reactive import ReactiveTransformer

LOOK_EVERY = 8
"""Steps between two looks at whether every row has ended: each look makes the processor wait for the device."""
GREEDY = Sampling()


def generate(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    stop_at_eos: bool = True,
    mask: Tensor | None = None,
    compiled: bool = False,
) -> Tensor:
    """Continue prompts (B, T) by at most ``max_new_tokens`` each -> (B, T'), prompts and continuations.

    A row ends with [EOS] (unless ``stop_at_eos`` is off) or when it fills the model's length; after its end it holds
    [PAD]. ``mask`` (B, T) is False at padding on the right of shorter prompts: each row's continuation begins right
    after its own prompt. Rows do not influence each other. ``compiled`` runs the steps through ``torch.compile``, where
    they are few enough to gain by it (:func:`rxt.generation.compiled.pays`).

    Raises ``UserError`` for a prompt that is empty or longer than the model takes, and for a memory of other weights.
    """
    tokens = list(_steps(model, ids, memory, max_new_tokens, sampling, stop_at_eos, mask, compiled, LOOK_EVERY, None))
    lengths = _lengths(ids, mask)
    if not tokens:
        return ids
    new = torch.stack(tokens, dim=1)  # (B, steps), with -1 after a row's end
    counts = (new >= 0).sum(1)
    pad = model.config.tokens.pad
    result = ids.new_full((ids.shape[0], ids.shape[1] + new.shape[1] + 1), pad)
    result[:, : ids.shape[1]] = ids if mask is None else ids.masked_fill(~mask.bool(), pad)
    last = result.shape[1] - 1  # one column more than can be filled takes what is not there
    where = lengths[:, None] + torch.arange(new.shape[1], device=ids.device)
    result.scatter_(1, where.masked_fill(new < 0, last), new.clamp(min=0))
    return result[:, : max(ids.shape[1], int((lengths + counts).max()))]


def generate_tokens(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    stop_at_eos: bool = True,
    mask: Tensor | None = None,
    compiled: bool = False,
    memory_kv: list[KeyValue] | None = None,
) -> Iterator[Tensor]:
    """As :func:`generate`, but yields every step's new tokens (B,) as soon as they are chosen; [PAD] after a row's end.

    ``memory_kv`` is ``model.decoder.project_memory(memory.slots)`` where the caller has it already.
    """
    pad = model.config.tokens.pad
    for tokens in _steps(model, ids, memory, max_new_tokens, sampling, stop_at_eos, mask, compiled, 1, memory_kv):
        yield tokens.masked_fill(tokens < 0, pad)


@torch.no_grad()
def _steps(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    sampling: Sampling,
    stop_at_eos: bool,
    mask: Tensor | None,
    compiled: bool,
    look_every: int,
    memory_kv: list[KeyValue] | None,
) -> Iterator[Tensor]:
    """Yield every step's tokens (B,), -1 for rows that have ended. Up to ``look_every`` - 1 steps may be all -1."""
    check_prompt(model, ids, memory, max_new_tokens, mask)
    tokens, (batch_size, prompt_length) = model.config.tokens, ids.shape
    compiled = compiled and pays(batch_size, ids.device)
    decoder = inference_decoder(model, compiled)
    limit = model.config.max_length
    lengths = _lengths(ids, mask)  # (B,): also where each row's next token stands
    steps = min(max_new_tokens, limit - (prompt_length if mask is None else int(lengths.min())))
    if steps == 0:
        return
    memory_kv = decoder.project_memory(memory.slots) if memory_kv is None else memory_kv
    needed = min(limit, prompt_length + steps)
    kv_cache = decoder.new_cache(batch_size, cache_length(needed, limit) if compiled else needed)
    step = compiled_step(decoder) if compiled else plain_step
    options, generators = SamplingBatch.of([sampling], ids.device), [sampling.generator(ids.device)]
    seen = _seen(ids, mask, model.config.decoder.vocab_size) if sampling.repetition_penalty != 1 else None

    logits = decoder.begin(ids, lengths - 1, memory_kv, kv_cache)  # (B, V)
    ended = torch.zeros(batch_size, dtype=torch.bool, device=ids.device)
    for index in range(steps):
        ended = ended | (lengths >= limit)
        chosen = sample(logits, options, generators, seen).masked_fill(ended, tokens.pad)
        yield chosen.masked_fill(ended, -1)
        if stop_at_eos:
            ended = ended | (chosen == tokens.eos)
        if index + 1 == steps or (stop_at_eos and (index + 1) % look_every == 0 and bool(ended.all())):
            return
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        # A row that has filled the cache writes over its own last entry, which nobody reads any more.
        logits = step(decoder, chosen[:, None], lengths.clamp(max=needed - 1)[:, None], memory_kv, kv_cache)[:, 0]
        lengths = lengths + 1


def check_prompt(
    model: ReactiveTransformer, ids: Tensor, memory: Memory, max_new_tokens: int, mask: Tensor | None
) -> None:
    """Refuse prompts, memories and masks that ``generate`` cannot take."""
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


def _lengths(ids: Tensor, mask: Tensor | None) -> Tensor:
    """How many tokens each prompt has: (B,)."""
    return ids.new_full((ids.shape[0],), ids.shape[1]) if mask is None else mask.sum(1)


def _seen(ids: Tensor, mask: Tensor | None, vocab_size: int) -> Tensor:
    """(B, V): which tokens each prompt has."""
    seen = torch.zeros(ids.shape[0], vocab_size, dtype=torch.bool, device=ids.device)
    if mask is None:
        return seen.scatter_(1, ids, True)
    first = ids[:, :1].expand_as(ids)  # a token that is there anyway stands for the padding
    return seen.scatter_(1, ids.where(mask.bool(), first), True)
