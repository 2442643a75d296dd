"""The policy's own mistakes as rejected answers: what it says now, out of the memory of a conversation that went well.

A wrong value that somebody thought of is seldom the one that the model takes for the right one. What it says itself is:
preferences over answers of the policy are online preference optimisation (arXiv 2402.04792).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.collate import Preferences, Rows, collate_rows
from rxt.data.said import spoken
from rxt.data.template import Encoded, Template
from rxt.generation.generate import generate
from rxt.generation.sampling import Sampling
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

MAX_NEW_TOKENS = 32


@torch.no_grad()
def with_own_answers(
    model: ReactiveTransformer,
    template: Template,
    batch: Preferences,
    memories: list[Tensor],
    sampling: Sampling,
    longest: int = MAX_NEW_TOKENS,
) -> tuple[Preferences, int]:
    """The batch, in which the policy's answers are the rejected ones where they are wrong; how many these are.

    Asked are the questions of which the right answer is known, in a template of several parts in automatic mode: the
    policy decides whether it thinks, and calls what it likes. ``memories``: as ``conversation_memories`` gives them.

    Args:
        longest: tokens of an answer, with all its parts.
    """
    asked = [pair for pair, question in enumerate(batch.questions) if question is not None]
    if not asked:
        return batch, 0
    accepted = batch.answers[torch.tensor(asked, device=batch.answers.ids.device)]
    told = accepted.targets.int().argmax(1).tolist()  # tokens before the first that the model must say itself
    prompts = [ids[:count] for ids, count in zip(accepted.ids.tolist(), told, strict=True)]
    rows = collate_rows([Encoded(prompt, [False] * len(prompt)) for prompt in prompts], template.tokens.pad).to(
        accepted.ids.device
    )
    slots = torch.cat(memories, dim=1)[:, batch.turn_row[asked]].detach()
    said = generate(model, rows.ids, Memory(slots), longest, sampling, mask=rows.mask).tolist()
    wrong: dict[int, Encoded] = {}
    for pair, prompt, ids in zip(asked, prompts, said, strict=True):
        question = batch.questions[pair]
        whole = template.finished(prompt, [token for token in ids[len(prompt) :] if token != template.tokens.pad])
        reply = template.parse(whole[len(prompt) :])
        if question is not None and not question.correct(spoken(reply.answer, reply.tool_call)):
            wrong[batch.pairs + pair] = Encoded(whole, [False] * len(prompt) + [True] * (len(whole) - len(prompt)))
    return replace(batch, answers=with_rows(batch.answers, wrong, template.tokens.pad)), len(wrong)


def with_rows(rows: Rows, others: dict[int, Encoded], pad: int) -> Rows:
    """Rows of which some are other sequences, by their number."""
    room = max([0, *(len(other.ids) - rows.ids.shape[1] for other in others.values())])
    ids = F.pad(rows.ids, (0, room), value=pad).clone()  # padding by nothing is no copy
    mask, targets = (F.pad(each, (0, room), value=False).clone() for each in (rows.mask, rows.targets))
    for row, other in others.items():
        length = len(other.ids)
        ids[row], mask[row], targets[row] = pad, False, False
        ids[row, :length] = torch.tensor(other.ids, device=ids.device)
        mask[row, :length] = True
        targets[row, :length] = torch.tensor(other.loss, device=ids.device)
    return Rows(ids, mask, targets)
