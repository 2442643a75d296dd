"""Stage 4 with a pool: which turn told what is asked for, what an update is made of, and which parts learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import MODEL, OPTIM, RUN, learner, quiet, stages, template

from factories import tiny_tokenizer
from rxt.config import PoolConfig, RxTConfig
from rxt.data.encoding import encode_conversation
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.model.mixture_of_memory import init_pool, memorize, route
from rxt.pretrained import ReactiveTransformer
from rxt.tasks.base import Told
from rxt.tasks.registry import task
from rxt.training.config import RunConfig
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.pipeline import train
from rxt.training.recipes import recipe
from rxt.training.routing import collate_sourced
from rxt.training.stages.fragments import FragmentsConfig, FragmentsPhase, FragmentsStage

POOL = PoolConfig(fragment_slots=2, key_width=4, new_below=-1, most_writes=1)
POOLED = replace(MODEL, pool=POOL, memory_seed=0)
PHASES = (
    FragmentsPhase(steps=2, turns=4, batch_size=4, trains=("router",)),
    FragmentsPhase(steps=2, turns=6, batch_size=4, most_writes=2, shortest=3),
)


def made(model: RxTConfig = POOLED, **settings: object) -> RunConfig:
    config = replace(FragmentsConfig(phases=PHASES, optim=OPTIM), **settings)  # type: ignore[arg-type]
    return replace(RUN, model=model, stages=(config,), validate_every=2)


def stage(**settings: object) -> FragmentsStage:
    (found,) = stages(made(**settings))  # type: ignore[arg-type]
    return found


def told(count: int, turns: int) -> list[Told]:
    return list(task("everyday").source(0).conversations("train", 0, count, turns, shortest=2))


def test_every_row_knows_the_turn_that_told_what_it_asks_for() -> None:
    template = Template(tiny_tokenizer("beta"), "beta", 64)  # which has system prompts
    held = [*told(2, 3), *told(3, 7), told(1, 5)[0]]
    conversation = held[2].conversation
    held[2] = replace(held[2], conversation=Conversation(conversation.interactions, system="you are kind"))
    found = collate_sourced(held, template)
    ordered = sorted(held, key=lambda each: -len(encode_conversation(each.conversation, template)))
    expected = list[int | None]()
    for turn, count in enumerate(found.conversations.alive):
        for each in ordered[:count]:
            shift = 1 if each.conversation.system else 0
            question = (each.questions or {}).get(turn - shift)
            expected.append(None if question is None or question.told_turn is None else question.told_turn + shift)
    assert found.told == tuple(expected)
    assert found.asked == sum(turn is not None for turn in expected) > 3
    asks = [row for row, turn in enumerate(found.told) if turn is not None]
    assert found.conversations.rows.targets[asks].any(1).all()
    for row in asks:
        turn = int(found.conversations.turn_of_row()[row])
        assert (found.told[row] or 0) < turn


def test_conversations_whose_questions_are_not_known_ask_nothing() -> None:
    talk = Told(Conversation((Interaction("hello", "hi"), Interaction("hello", "hi"))))
    assert collate_sourced([talk], template()).told == (None, None)


def test_a_phase_says_how_many_interactions_a_fragment_takes() -> None:
    model = learner(POOLED).model.eval()
    counts = list[int]()
    for most in (None, 2, 4):
        opening = FragmentsPhase(1, 4, 1, most_writes=most).opening(POOL)
        pool = init_pool(model, seed=0)
        for number in range(4):
            ids = torch.tensor([[1, 3, 20 + number, 2]])
            (turn,) = memorize(model, route(model, [pool], ids), ids, config=opening)
            pool = turn.pool
        counts.append(len(pool.fragments))
    assert counts[0] == 4 > counts[1] > counts[2] == 1


@pytest.mark.parametrize("mean_over", ["turns", "answers"])
def test_micro_batches_are_parts_of_the_whole(mean_over: str) -> None:
    """Losses and gradients add up to those of one batch."""
    found = list[tuple[float, dict[str, float], list[torch.Tensor]]]()
    for accumulate in (1, 3):
        one = stage(optim=replace(OPTIM, accumulate=accumulate), mean_over=mean_over, routing_weight=0.7)
        model = learner(POOLED, double=True)
        batches = one.batches("train", 3)
        assert len(batches) == accumulate
        losses = [one.loss(model, batch, batches, torch.Generator().manual_seed(1)) for batch in batches]
        total = torch.stack([each.loss for each in losses]).sum()
        weights = list(model.model.parameters())
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        metrics = {name: float(sum(each.metrics[name] for each in losses)) for name in losses[0].metrics}
        whole = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
        found.append((float(total.detach()), metrics, whole))
    (loss, metrics, gradients), (same, alike, others) = found
    assert loss == pytest.approx(same, rel=1e-9)
    assert metrics == pytest.approx(alike, rel=1e-9)
    for mine, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10)
    if mean_over == "answers":
        assert loss == pytest.approx(metrics["answer"] + 0.7 * metrics["routing"], rel=1e-6)


def test_the_router_learns_alone_and_then_all_learns() -> None:
    one, model = stage(), learner(POOLED)
    optimizer = make_optimizer(model, one.optim)
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    update(one, model, optimizer, 0, 0)
    moved = {name for name, weight in model.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if name.startswith("router")}
    for step in (2, 3):
        update(one, model, optimizer, 0, step)
    moved = {
        name.split(".")[0] for name, weight in model.model.named_parameters() if not torch.equal(weight, before[name])
    }
    assert {"decoder", "encoder", "memory_attention", "router"} <= moved


def test_the_router_learns_to_find_what_was_told() -> None:
    """Routing alone, always the same batch: its loss falls."""
    phases = (FragmentsPhase(steps=40, turns=8, batch_size=8, trains=("router",)),)
    one, model = stage(phases=phases, optim=replace(OPTIM, learning_rate=2e-2)), learner(POOLED)
    optimizer, losses = make_optimizer(model, one.optim), list[float]()
    batches = one.batches("train", 0)
    for step in range(25):
        (loss,) = update(one, model, optimizer, 0, step, made=lambda _: batches)
        losses.append(float(loss.metrics["routing"]))
    assert losses[-1] < 0.7 * losses[0]


def test_a_run_gives_a_model_its_pool(tmp_path: Path) -> None:
    plain = replace(MODEL, memory_seed=0)
    train(replace(RUN, model=plain, stages=RUN.stages[:1]), tmp_path / "plain", quiet())
    start = str(tmp_path / "plain" / "model")
    config = ReactiveTransformer.from_pretrained(start).config
    run = made().going_on(start, config)
    assert run.model == replace(config, pool=POOL)
    folder = train(run, tmp_path / "run", quiet())
    model = ReactiveTransformer.from_pretrained(folder)
    assert model.config.pool == POOL
    assert model.router is not None
    assert (tmp_path / "run" / "4-fragments" / "metrics.jsonl").read_text().count("routed") >= 2
    other = replace(config, pool=replace(POOL, key_width=8))
    assert made().going_on(str(folder), model.config).model.pool == POOL
    with pytest.raises(UserError, match="another model than the run's"):
        train(replace(run, start=str(folder), model=replace(other, trained_turns=None)), tmp_path / "other", quiet())


def test_the_recipe_goes_on_from_a_model_that_remembers() -> None:
    found = recipe("fragments")
    assert found.needs_start
    plain = recipe("pocket").model
    run = found.going_on("somewhere", plain)
    assert run.model == replace(plain, pool=found.model.pool)
    writes = [phase.turns / (phase.most_writes or 1) for phase in run.stage(FragmentsConfig).phases[1:]]
    assert writes == sorted(writes), "from one fragment to many"
    assert writes[0] == 1


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UserError, match=r"fragments is for models with a pool, so set model.pool"):
        made(MODEL)
    for wrong, message in (
        ({"turns": 1}, "phase.turns must be at least 2"),
        ({"most_writes": 0}, "phase.most_writes must be at least 1"),
        ({"shortest": 9}, "phase.shortest must lie in 2 … turns=4"),
    ):
        with pytest.raises(UserError, match=message):
            replace(PHASES[0], **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"fragments\.routing_weight cannot be negative"):
        made(routing_weight=-1)
    with pytest.raises(UserError, match=r"fragments\.temperature must be positive"):
        made(temperature=0)
