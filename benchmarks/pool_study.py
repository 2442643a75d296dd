"""What a pool of fragments adds to a model that was trained without: the router alone is trained, then recall measured.

    python benchmarks/pool_study.py [MODEL] [--conversations 1500] [--questions 32] [--cell 32,24 …] [--writes 1 …]

MODEL is a folder or a Hub id, the bundled model when not given. Every fragment is a whole memory of S slots, as the
model was trained with, and a turn sees one of them: as many active slots as the plain memory beside it. Only the two
projections of the router learn, from generated conversations of the training split; questions are those of the test
split, N facts told one a turn (``--cell N,DISTANCE``), the model's own answers memorized on the way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.config import PoolConfig
from rxt.data.template import Template
from rxt.evaluation.subject import as_rows
from rxt.evaluation.walk import prompts_of
from rxt.generation.generate import generate
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import PoolTurn, active, init_pool, memorize, route, router_of
from rxt.model.router import Router, mean_of_text
from rxt.pretrained import ReactiveTransformer, load_model
from rxt.tasks.base import Told
from rxt.tasks.registry import task

FACTS, STEPS, BATCH, PEAK = 16, 1500, 128, 5e-3
"""Of a training conversation; updates, conversations of each, and the learning rate that falls to 0."""
TOGETHER = (1, 2, 4)
"""Facts whose keys are added up in one fragment, in training."""
EVERYDAY = task("everyday")


@dataclass(frozen=True)
class Texts:
    """Means of encoded texts: what is told in C conversations, and the question that ends each."""

    told: Tensor
    """(C, FACTS, D)"""
    asked: Tensor
    """(C, D)"""
    answer: Tensor
    """(C,): which of the told ones is asked for."""


@torch.no_grad()
def encoded(model: ReactiveTransformer, template: Template, sequences: Sequence[list[int]]) -> Tensor:
    """(N, D): the mean of each sequence."""
    parts = [as_rows(sequences[start : start + 256], template) for start in range(0, len(sequences), 256)]
    return torch.cat([mean_of_text(model.encode(ids, mask), mask) for ids, mask in parts])


def training_texts(model: ReactiveTransformer, template: Template, conversations: int) -> Texts:
    cases = [EVERYDAY.crowded_probe("train", FACTS, 1 + index % FACTS, 1, index) for index in range(conversations)]
    told = [template.interaction(turn).ids for case in cases for turn in case.conversation.interactions[:FACTS]]
    asked = [prompt for case in cases for prompt in prompts_of(template, case.queries[-1:])]
    return Texts(
        encoded(model, template, told).unflatten(0, (conversations, FACTS)),
        encoded(model, template, asked),
        torch.tensor([told_turn(case) for case in cases]),
    )


def told_turn(case: Told) -> int:
    """When that was told which the last turn asks for."""
    turn = case.last_question.told_turn
    assert turn is not None
    return turn


def train(router: Router, texts: Texts) -> float:
    """Teach the router which fragment holds what is asked for, facts put together at random; the last loss."""
    optimizer, loss = torch.optim.Adam(router.parameters(), lr=PEAK), torch.zeros(())
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * (1 - step / STEPS)
        rows = torch.randint(len(texts.asked), (BATCH,))
        queries = F.normalize(router.query(texts.asked[rows]), dim=-1)  # (b, D_k)
        keys = F.normalize(router.key(texts.told[rows]), dim=-1)  # (b, FACTS, D_k)
        order = torch.rand(len(rows), FACTS).argsort(1)
        keys = keys.gather(1, order[:, :, None].expand_as(keys))
        place = (order == texts.answer[rows][:, None]).int().argmax(1)  # (b,)
        losses = list[Tensor]()
        for count in TOGETHER:
            fragments = F.normalize(keys.unflatten(1, (-1, count)).sum(2), dim=-1)  # (b, FACTS / count, D_k)
            similarities = (fragments @ queries[:, :, None]).squeeze(-1)
            losses.append(F.cross_entropy(similarities / 0.1, place // count))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def plain_recall(model: ReactiveTransformer, template: Template, cases: Sequence[Told]) -> str:
    memory, said = model.init_memory(len(cases), seed=0), list[list[int]]()
    for turn in range(len(cases[0].queries)):
        prompts, said = answered(model, template, cases, turn, memory)
        memory = model.memorize(memory, *as_rows(completed(template, prompts, said), template))
    return f"recall {share(right(template, cases, said)):.2f}"


@torch.no_grad()
def pooled_recall(model: ReactiveTransformer, template: Template, cases: Sequence[Told]) -> str:
    pools, written = [init_pool(model, seed=0) for _ in cases], [list[tuple[int, ...]]() for _ in cases]
    turns, said = list[PoolTurn](), list[list[int]]()
    for turn in range(len(cases[0].queries)):
        ids, mask = as_rows(prompts_of(template, [case.queries[turn] for case in cases]), template)
        turns = route(model, pools, ids, mask)
        prompts, said = answered(model, template, cases, turn, active(turns))
        after = memorize(model, turns, *as_rows(completed(template, prompts, said), template))
        pools = [each.pool for each in after]
        for history, each in zip(written, after, strict=True):
            history.append(each.chosen)
    found = [
        not set(history[told_turn(case)]).isdisjoint(each.chosen)
        for case, history, each in zip(cases, written, turns, strict=True)
    ]
    fragments = sum(len(each.pool.fragments) for each in turns) / len(turns)
    correct = right(template, cases, said)
    return f"recall {share(correct):.2f}, routed {share(found):.2f}, {fragments:.1f} fragments"


def answered(
    model: ReactiveTransformer, template: Template, cases: Sequence[Told], turn: int, memory: Memory
) -> tuple[list[list[int]], list[list[int]]]:
    """The prompts of a turn, and the model's answers out of a memory."""
    prompts = prompts_of(template, [case.queries[turn] for case in cases])
    ids, mask = as_rows(prompts, template)
    whole = generate(model, ids, memory, 48, mask=mask).tolist()
    said = [
        [token for token in row[len(prompt) :] if token != template.tokens.pad]
        for row, prompt in zip(whole, prompts, strict=True)
    ]
    return prompts, said


def completed(template: Template, prompts: list[list[int]], said: list[list[int]]) -> list[list[int]]:
    return [template.complete(*both) for both in zip(prompts, said, strict=True)]


def right(template: Template, cases: Sequence[Told], said: list[list[int]]) -> list[bool]:
    return [case.last_question.correct(template.answer_text(ids)) for case, ids in zip(cases, said, strict=True)]


def share(which: list[bool]) -> float:
    return sum(which) / len(which)


def cell(text: str) -> tuple[int, int]:
    facts, distance = map(int, text.split(","))
    return facts, distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--conversations", type=int, default=1500)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--cell", type=cell, nargs="+", default=[(16, 12), (32, 24)])
    parser.add_argument("--writes", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    torch.manual_seed(0)
    plain, tokenizer = load_model(options.model)
    template, slots = Template.of_model(plain.config, tokenizer), plain.config.memory_attention.slots
    pools = {writes: PoolConfig(slots, new_below=-1, most_writes=writes) for writes in options.writes}
    trained = router_of(plain.with_pool(pools[options.writes[0]]))
    print(f"router: loss {train(trained, training_texts(plain, template, options.conversations)):.2f}", flush=True)
    for facts, distance in options.cell:
        cases = [EVERYDAY.crowded_probe("test", facts, distance, 0, index) for index in range(options.questions)]
        print(f"{facts} facts, distance {distance}: plain {plain_recall(plain, template, cases)}", flush=True)
        for writes, config in pools.items():
            model = plain.with_pool(config)
            router_of(model).load_state_dict(trained.state_dict())
            print(f"  {writes} a fragment: {pooled_recall(model, template, cases)}", flush=True)


if __name__ == "__main__":
    main()
