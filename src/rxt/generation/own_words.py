"""What a pre-trained base says by itself: questions that it makes up, and its answers to them.

A model that was trained on conversations writes a question when it is shown where one begins (Magpie, arXiv
2406.08464). So any base tells what it can do, without data.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from rxt.data.collate import collate_rows
from rxt.data.markup import Encoded, Part
from rxt.data.template import Template
from rxt.generation.generate import generate
from rxt.generation.sampling import GREEDY, Sampling
from rxt.model.grow import silenced
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

ASKING = Sampling(temperature=0.8)
"""Without ``top_p``, which would sort the whole vocabulary at every step."""
BATCH = 64
LONGEST = 64
"""Tokens of a question, and of an answer."""
TRIES = 4
"""Times as many questions as are wanted, at most: empty ones and repetitions are left out."""


@torch.no_grad()
def own_interactions(
    model: ReactiveTransformer, template: Template, count: int, seed: int, longest: int = LONGEST
) -> list[Encoded]:
    """At most ``count`` questions that a model's base makes up, each with its likeliest answer, which is learned.

    A model without a base answers as it would with silent reads. The same seed gives the same interactions.
    """
    found: dict[tuple[int, ...], Encoded] = {}
    with silenced(model):
        for attempt in range(-(-count // BATCH) * TRIES):
            asked = _questions(model, template, longest, seed + 1_000_003 * attempt)
            new = [question for question in dict.fromkeys(asked) if question and question not in found]
            if new := new[: count - len(found)]:
                found |= zip(new, _answered(model, template, new, longest), strict=True)
            if len(found) == count:
                break
    return list(found.values())


def _questions(model: ReactiveTransformer, template: Template, longest: int, seed: int) -> list[tuple[int, ...]]:
    """BATCH of them, as token ids; empty where the model had nothing to ask."""
    opening = template.markup.opened("query")
    room = min(longest, (template.max_length - template.markup.size) // 2)
    said = _continued(model, template, [opening] * BATCH, room, replace(ASKING, seed=seed))
    end = template.markup.after_query
    return [tuple(before(before(ids, end), (template.tokens.eos,))) for ids in said]


def _answered(
    model: ReactiveTransformer, template: Template, questions: list[tuple[int, ...]], longest: int
) -> list[Encoded]:
    prompts = [template.markup.begun([Part("query", [*question]), Part("answer")]) for question in questions]
    answers = _continued(model, template, prompts, longest, GREEDY)
    found = list[Encoded]()
    for question, prompt, said in zip(questions, prompts, answers, strict=True):
        answer = template.markup.without_end(before(said, (template.tokens.eos,)))
        whole = template.of_pieces([*question], answer, learned=True)
        ended = template.tokens.eos in said  # where it was cut off, its end is none of its words
        last = len(whole.ids) if ended else len(prompt) + len(answer)
        found.append(replace(whole, loss=[learned and at < last for at, learned in enumerate(whole.loss)]))
    return found


def _continued(
    model: ReactiveTransformer, template: Template, prompts: list[list[int]], longest: int, sampling: Sampling
) -> list[list[int]]:
    """What the model says after each prompt, [EOS] included."""
    rows = collate_rows([Encoded(prompt, [False] * len(prompt)) for prompt in prompts], template.tokens.pad)
    rows = rows.to(model.decoder.embedding.weight.device)
    layers, slots, width = model.config.memory_shape
    memory = Memory(model.decoder.embedding.weight.new_zeros(layers, len(prompts), slots, width))
    room = min(longest, template.max_length - rows.ids.shape[1] - len(template.markup.end))
    said = generate(model, rows.ids, memory, room, sampling, mask=rows.mask).tolist()
    eos = template.tokens.eos
    after = [ids[len(prompt) : len(prompt) + room] for ids, prompt in zip(said, prompts, strict=True)]
    return [ids[: ids.index(eos) + 1] if eos in ids else ids for ids in after]


def before(ids: list[int], end: tuple[int, ...]) -> list[int]:
    """The ids before the first place where the first of ``end`` stands with as much of the rest as there is."""
    for start in range(len(ids)):
        rest = tuple(ids[start : start + len(end)])
        if rest == end[: len(rest)]:
            return ids[:start]
    return ids
