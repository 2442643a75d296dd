"""How many facts a memory holds: recall by the number of facts told in a conversation, with a pool of fragments and
without, how often a question is routed to what holds its answer, and what a turn costs by the number of fragments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.pooled import Pooled
from rxt.evaluation.retention import NOTHING, Score
from rxt.evaluation.subject import Reactive
from rxt.evaluation.walk import even_batches, prompts_of, walk
from rxt.generation.generate import generate_tokens
from rxt.generation.pool_turn import PreparedPool, memorize_pools, routed_pools
from rxt.generation.sampling import GREEDY
from rxt.model.mixture_of_memory import init_pool
from rxt.model.pool import Fragment
from rxt.model.pool_keys import KeyTable
from rxt.model.reactive import ReactiveTransformer
from rxt.tasks.base import Split, Task, Told

BATCH = 32
REPEATS = 9


@dataclass(frozen=True)
class Cell:
    """So many facts told, one of them asked for after so many turns."""

    facts: int
    distance: int
    plain: Score
    """Out of a memory that is not in fragments."""
    pooled: Score | None = None
    """Out of a pool; None where the model has none."""
    routed: Score | None = None
    """Questions that saw a fragment which was written when that was told which they ask for."""
    fragments: float = 0.0
    """Of a pool at the end, in the mean."""
    larger: Score | None = None
    """Out of the plain memory of a model with more slots, such as a pool has in all; None where there is no such
    model."""
    whole: Score | None = None
    """Out of all fragments of the pool at once, nothing being chosen: a plain memory of as many slots as the pool has
    in all, with the same weights and the same writing, at the cost of reading all of it. What it has and the pool has
    not, choosing loses; the weights have not learned to read so much."""


@dataclass(frozen=True)
class TurnCost:
    """Seconds, the median of several turns."""

    fragments: int
    route: float
    """A query encoded, and compared with all keys."""
    update: float
    """An interaction memorized."""
    first_token: float | None = None
    """From the query to the first token of the answer: choosing is a part of it. None in files of before."""


def measure_capacity(
    model: ReactiveTransformer,
    template: Template,
    task: Task[Any],
    cells: Sequence[tuple[int, int]],
    questions: int,
    split: Split,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    larger: Reactive | None = None,
) -> list[Cell]:
    """Ask ``questions`` in every cell (facts, distance); each has a conversation of its own, and the model's own
    answers are remembered on the way. ``larger``: a model whose memory has more slots, asked the same.

    Raises:
        UserError: the task cannot say how many facts a conversation tells.
    """
    plain = Reactive(model, template)
    pooled = None if model.config.pool is None else Pooled(model, template)
    found = list[Cell]()
    for facts, distance in cells:
        cell = Cell(facts, distance, NOTHING)
        for part in even_batches(questions, BATCH):
            cases = [task.crowded_probe(split, facts, distance, seed, index) for index in part]
            cell = replace(cell, plain=cell.plain + _ask_plain(plain, cases, seed))
            if larger is not None:
                cell = replace(cell, larger=(cell.larger or NOTHING) + _ask_plain(larger, cases, seed))
            if pooled is not None:
                cell = _added(cell, _ask_pools(pooled, cases, seed), len(cases) / questions)
            report(len(cases))
        found.append(cell)
    return found


def _ask_plain(subject: Reactive, cases: Sequence[Told], seed: int) -> Score:
    answers = walk(subject, [case.queries for case in cases], seed).answers
    right = [case.last_question.correct(said[-1]) for case, said in zip(cases, answers, strict=True)]
    return Score(sum(right), len(right))


def _added(cell: Cell, one: Cell, share: float) -> Cell:
    assert one.pooled is not None
    assert one.routed is not None
    assert one.whole is not None
    return replace(
        cell,
        pooled=(cell.pooled or NOTHING) + one.pooled,
        routed=(cell.routed or NOTHING) + one.routed,
        whole=(cell.whole or NOTHING) + one.whole,
        fragments=cell.fragments + share * one.fragments,
    )


def _ask_pools(subject: Pooled, cases: Sequence[Told], seed: int) -> Cell:
    """Conversations of the same number of turns, all held together."""
    template, state = subject.template, subject.start(len(cases), seed)
    written: list[list[tuple[int, ...]]] = [[] for _ in cases]
    routed, said, prompts = state, list[list[int]](), list[list[int]]()
    for turn in range(len(cases[0].queries)):
        prompts = prompts_of(template, [case.queries[turn] for case in cases])
        routed = subject.route(prompts, state)
        said = subject.answer_routed(prompts, routed)
        state = subject.remember_routed(routed, [template.complete(*both) for both in zip(prompts, said, strict=True)])
        for history, each in zip(written, state, strict=True):
            history.append(each.written)
    right = [case.last_question.correct(template.answer_text(ids)) for case, ids in zip(cases, said, strict=True)]
    found = [_sees(case, history, each) for case, history, each in zip(cases, written, routed, strict=True)]
    whole = [subject.answer_whole(prompt, each.pool) for prompt, each in zip(prompts, routed, strict=True)]
    right_of_whole = [
        case.last_question.correct(template.answer_text(ids)) for case, ids in zip(cases, whole, strict=True)
    ]
    fragments = sum(len(each.pool.fragments) for each in routed) / len(cases)
    pooled, seen = Score(sum(right), len(right)), Score(sum(found), len(found))
    return Cell(0, 0, NOTHING, pooled, seen, fragments, whole=Score(sum(right_of_whole), len(cases)))


def _sees(case: Told, written: Sequence[tuple[int, ...]], routed: PreparedPool) -> bool:
    turn = case.last_question.told_turn
    return turn is not None and not set(written[turn]).isdisjoint(routed.chosen)


def measure_turn_cost(
    model: ReactiveTransformer, template: Template, counts: Sequence[int], repeats: int = REPEATS
) -> list[TurnCost]:
    """What choosing, the first token and writing take where a pool has so many fragments.

    Raises:
        UserError: the model keeps no fragments; a pool has fewer than a turn sees.
    """
    fresh, prompt = init_pool(model.eval(), 0), template.prompt("What is my dog called?")
    interaction = template.complete(prompt, template.ids_of("answer", "Your dog is called Rex."))
    ids = torch.tensor([prompt], device=fresh.resident.device)
    found = list[TurnCost]()
    for count in counts:
        if count < len(fresh.fragments):
            raise UserError(f"a turn of this model sees {len(fresh.fragments)} fragments, a pool cannot have {count}")
        fragment = Fragment(fresh.fresh, 1, 1, 1.0)
        keys = torch.randn(count, fresh.keys.shape[1], generator=torch.Generator().manual_seed(0))
        pool = replace(fresh, fragments=(fragment,) * count, keys=KeyTable.of(keys.to(fresh.resident)), turns=1)
        prepared = PreparedPool.of(model, pool)
        routes, first, updates = list[float](), list[float](), list[float]()
        for _ in range(repeats + 1):
            began = time.perf_counter()
            (routed,) = routed_pools(model, [prepared], [prompt])
            routes.append(time.perf_counter() - began)
            int(next(generate_tokens(model, ids, routed.memory, 1, GREEDY)))  # waits for the device
            middle = time.perf_counter()
            memorize_pools(model, [routed], [interaction])
            first.append(middle - began)
            updates.append(time.perf_counter() - middle)
        found.append(TurnCost(count, median(routes[1:]), median(updates[1:]), median(first[1:])))
    return found


def growth(costs: Sequence[TurnCost]) -> tuple[float, float] | None:
    """How many times as long the first token and an update take with the most fragments as with the fewest; None where
    that was not measured."""
    few, many = min(costs, key=lambda cost: cost.fragments), max(costs, key=lambda cost: cost.fragments)
    if few.first_token is None or many.first_token is None:
        return None
    return many.first_token / few.first_token, many.update / few.update
