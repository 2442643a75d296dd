"""Many conversations at once, each from its own memory, the model answering for itself as it does in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rxt.data.collate import collate_rows
from rxt.data.template import Encoded, Template
from rxt.generation.generate import generate
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer


@dataclass(frozen=True)
class Walk:
    """What B conversations of any lengths said and remembered."""

    answers: tuple[tuple[str, ...], ...]
    """The model's answers, by conversation and turn."""
    last_query_memory: Memory
    """The memory that each conversation's last query was answered from; B conversations, in order."""


def even_batches(count: int, most: int) -> list[range]:
    """``count`` indices in as few batches of at most ``most`` as can be, none much smaller than the others.

    So no batch holds one conversation alone, which would be its own control where memories are exchanged.
    """
    batches = -(-count // most)
    bounds = [count * index // batches for index in range(batches + 1)]
    return [range(start, end) for start, end in pairwise(bounds)]


@torch.no_grad()
def walk(
    model: ReactiveTransformer, template: Template, conversations: Sequence[Sequence[str]], seed: int, max_new_tokens: int = 48
) -> Walk:
    """Ask every query of every conversation in turn; memorize what was asked and what the model said."""
    order = sorted(range(len(conversations)), key=lambda index: -len(conversations[index]))
    answers: list[list[str]] = [[] for _ in conversations]
    last: list[Memory | None] = [None] * len(conversations)
    memory = model.init_memory(len(conversations), seed)
    for turn in range(max(map(len, conversations))):
        active = [index for index in order if turn < len(conversations[index])]
        memory = memory.first(len(active))
        prompts = [template.prompt(conversations[index][turn]) for index in active]
        continuations = answer_batch(model, template, prompts, memory, max_new_tokens)
        for row, index in enumerate(active):
            answers[index].append(template.answer_text(continuations[row]))
            if turn == len(conversations[index]) - 1:
                last[index] = memory.select(row)
        rows = as_rows([template.complete(prompt, new) for prompt, new in zip(prompts, continuations, strict=True)], template)
        memory = model.memorize(memory, *rows)
    return Walk(tuple(map(tuple, answers)), Memory.stack([memory for memory in last if memory is not None]))


@torch.no_grad()
def answer_batch(
    model: ReactiveTransformer, template: Template, prompts: Sequence[list[int]], memory: Memory, max_new_tokens: int = 48
) -> list[list[int]]:
    """Greedy continuations of prompts of different lengths, each from its own memory of the batch."""
    ids, mask = as_rows(prompts, template)
    whole = generate(model, ids, memory, max_new_tokens, mask=mask).tolist()
    pad = template.tokens.pad
    return [[token for token in row[len(prompt) :] if token != pad] for row, prompt in zip(whole, prompts, strict=True)]


def as_rows(sequences: Sequence[list[int]], template: Template) -> tuple[Tensor, Tensor]:
    """Sequences as padded ids (B, T) and their mask (B, T)."""
    rows = collate_rows([Encoded(ids, [False] * len(ids)) for ids in sequences], template.tokens.pad)
    return rows.ids, rows.mask
