"""Continue prompts token by token: the memory is read once, every later step runs on a preallocated cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.generation.constraint import Constraint
from rxt.generation.decode import check_prompt, decode_loop, prompt_lengths, steps_left
from rxt.generation.sampling import GREEDY, Sampling, SamplingBatch, sample

if TYPE_CHECKING:
    from rxt.model.attention import KeyValue
    from rxt.model.memory import Memory
    from rxt.model.reactive import ReactiveTransformer

LOOK_EVERY = 8
"""Steps between two looks at whether every row has ended: each look makes the processor wait for the device."""


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
    lengths = prompt_lengths(ids, mask)
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
    constraint: Constraint | None = None,
) -> Iterator[Tensor]:
    """As :func:`generate`, but yields every step's new tokens (B,) as soon as they are chosen; [PAD] after a row's end.

    ``memory_kv`` is ``model.decoder.project_filled(memory.slots)`` where the caller has it already; ``constraint`` is
    of one answer, so B = 1 with it.
    """
    pad = model.config.tokens.pad
    for tokens in _steps(
        model, ids, memory, max_new_tokens, sampling, stop_at_eos, mask, compiled, 1, memory_kv, constraint
    ):
        yield tokens.masked_fill(tokens < 0, pad)


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
    constraint: Constraint | None = None,
) -> Iterator[Tensor]:
    """Yield every step's tokens (B,), -1 for rows that have ended. Up to ``look_every`` - 1 steps may be all -1."""
    check_prompt(model, ids, memory, max_new_tokens, mask)
    assert constraint is None or len(ids) == 1
    left = steps_left(model, ids, mask, max_new_tokens)
    options, generators = SamplingBatch.of([sampling], ids.device), [sampling.generator(ids.device)]
    vocab_size = model.config.decoder.vocab_size
    seen = _seen(ids, mask, vocab_size) if options.penalizes else None
    said = torch.zeros(len(ids), vocab_size, device=ids.device) if options.counts else None

    def choose(logits: Tensor, _: Tensor) -> Tensor:
        nonlocal left
        left -= 1
        if constraint is not None:
            logits = constraint.narrow(logits[0])[None]
        tokens = sample(logits, options, generators, seen, said)
        if constraint is not None:
            tokens = tokens.new_tensor([constraint.take(int(tokens), left)])
        if seen is not None:
            seen.scatter_(1, tokens[:, None], True)
        if said is not None:
            said[torch.arange(len(tokens), device=tokens.device), tokens] += 1
        return tokens

    for chosen in decode_loop(
        model, ids, memory, max_new_tokens, choose, mask, stop_at_eos, look_every, False, compiled, memory_kv
    ):
        yield chosen.tokens


def _seen(ids: Tensor, mask: Tensor | None, vocab_size: int) -> Tensor:
    """(B, V): which tokens each prompt has."""
    seen = torch.zeros(ids.shape[0], vocab_size, dtype=torch.bool, device=ids.device)
    if mask is None:
        return seen.scatter_(1, ids, True)
    first = ids[:, :1].expand_as(ids)  # a token that is there anyway stands for the padding
    return seen.scatter_(1, ids.where(mask.bool(), first), True)
