"""Which data each stage takes, and what of it is learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from micro import AWARE, JOINT, MODEL, RUN, learner, stages, template, tokenizer

from rxt.config import MemoryNormConfig
from rxt.data.collate import Conversations, Rows, collate_rows
from rxt.data.template import Encoded
from rxt.errors import UserError
from rxt.model.encoder import Encoder
from rxt.training.config_base import OptimConfig
from rxt.training.stages.joint import choose, joint_loss, split_rows
from rxt.training.stages.memory_aware import MemoryAwareConfig, MemoryAwareStage, Phase


def memory_aware(*phases: Phase, optim: OptimConfig = AWARE.optim) -> MemoryAwareStage:
    stage = stages(RUN.having(MemoryAwareConfig(phases=phases, optim=optim)))[3]
    assert isinstance(stage, MemoryAwareStage)
    return stage


def texts(rows: Rows) -> list[str]:
    return [tokenizer().decode(ids[mask].tolist()) for ids, mask in zip(rows.ids, rows.mask, strict=True)]


def test_phases_follow_one_another() -> None:
    phases = Phase(3, 2, 4), Phase(0, 3, 4), Phase(2, 4, 4)
    stage = memory_aware(*phases)
    assert stage.steps == 5
    assert [stage.config.read_at("train", step).turns for step in range(7)] == [2, 2, 2, 4, 4, 4, 4]
    assert [len(stage.batches("train", step)[0].alive) for step in (0, 2, 3)] == [2, 2, 4]
    assert len(stage.batches("validation", 0)[0].alive) == 4, "as in the last phase"


def test_a_phase_may_draw_the_length_of_each_batch() -> None:
    stage = memory_aware(Phase(60, 6, 2, shortest=3))
    lengths = [len(stage.batches("train", step)[0].alive) for step in range(30)]
    assert set(lengths) == {3, 4, 5, 6}
    assert lengths == [len(stage.batches("train", step)[0].alive) for step in range(30)]
    assert {len(stage.batches("validation", step)[0].alive) for step in range(9)} == {6}


@pytest.mark.parametrize("parts", [1, 3])
def test_an_echo_says_every_interaction_again_word_by_word(parts: int) -> None:
    stage = memory_aware(Phase(2, 2, 6, echo=True), optim=replace(AWARE.optim, accumulate=parts))
    batches = stage.batches("train", 0)
    assert len(batches) == parts
    for batch in batches:
        assert batch.alive == (batch.size, batch.size)
        first, second = (batch.rows[rows] for rows in batch.turns())
        assert torch.equal(first.ids, second.ids)
        assert torch.equal(second.targets[:, 1:], second.mask[:, 1:])
        assert (first.targets.sum(1) < first.mask.sum(1) - 1).all(), "a query is not learned the first time"


def test_random_strings_are_told_and_recited() -> None:
    stage = memory_aware(Phase(2, 8, 60, random_pieces=10))
    (batch,) = stage.batches("train", 0)
    tokens = template().tokens
    told: list[list[list[int]]] = [[] for _ in range(60)]
    asked = unknown = 0
    for turn, rows in enumerate(batch.turns()):
        part = batch.rows[rows]
        for strings, ids, targets, mask in zip(told, part.ids, part.targets, part.mask, strict=True):
            said = ids[mask].tolist()
            assert not set(said) & {tokens.pad, tokens.mask}
            answer = said.index(tokens.answer)
            query, answered = said[2:answer], said[answer + 1 : -1]
            if targets.any():
                assert len(query) == 2
                assert targets[mask].tolist() == [False] * (answer + 1) + [True] * (len(said) - answer - 1)
                known = any(string[-len(query + answered) :] == query + answered for string in strings)
                assert known or not answered
                asked, unknown = asked + 1, unknown + (not known)
            else:
                assert 8 <= len(query) <= 10
                strings.append(query)
            assert turn != 0 or not targets.any()
            assert turn != 7 or targets.any()
    assert asked > 200
    assert 10 < unknown < asked / 4
    again = memory_aware(Phase(2, 8, 60, random_pieces=10)).batches("train", 0)[0]
    assert torch.equal(again.rows.ids, batch.rows.ids)
    assert not torch.equal(stage.batches("train", 1)[0].rows.ids, batch.rows.ids)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_share_of_a_batch_may_be_recited(parts: int) -> None:
    phase = Phase(40, 4, 10, random_pieces=9, random_share=0.25)
    stage = memory_aware(phase, optim=replace(AWARE.optim, accumulate=parts))
    answer = template().tokens.answer
    recited = 0
    for step in range(40):
        sizes = 0
        for batch in stage.batches("train", step):
            first = batch.rows[next(iter(batch.turns()))]
            told = [row for row, targets in zip(first.ids.tolist(), first.targets, strict=True) if not targets.any()]
            assert all(row.index(answer) >= 10 for row in told)
            assert len(told) <= 3 / parts + 1
            recited, sizes = recited + len(told), sizes + batch.size
        assert sizes == 10
    assert abs(recited - 100) < 15


def test_some_strings_are_asked_for_in_the_message_that_tells_them() -> None:
    stage = memory_aware(Phase(2, 3, 8, random_pieces=10, within_share=0.5))
    (batch,) = stage.batches("train", 0)
    answer, within = template().tokens.answer, 0
    for rows in batch.turns():
        part = batch.rows[rows]
        for ids, targets, mask in zip(part.ids, part.targets, part.mask, strict=True):
            said = ids[mask].tolist()
            at = said.index(answer)
            query, answered = said[2:at], said[at + 1 : -1]
            if len(query) < 5 or not targets.any():
                continue
            string, cue = query[:-2], query[-2:]
            assert targets[mask].tolist() == [False] * (at + 1) + [True] * (len(said) - at - 1)
            assert string[-len(answered) - 2 :] == [*cue, *answered]
            within += 1
    assert within == 4 * 3
    with pytest.raises(UserError, match=r"phase\.within_share is for phases with random_pieces"):
        Phase(2, 2, 4, within_share=0.5)


def test_random_strings_are_long_enough_for_a_cue_and_an_answer() -> None:
    with pytest.raises(UserError, match="must be at least 4, found 3"):
        Phase(2, 2, 4, random_pieces=3)
    with pytest.raises(UserError, match="leave one of them out"):
        Phase(2, 2, 4, echo=True, random_pieces=8)


def test_interactions_are_learned_without_their_queries() -> None:
    rows = [
        row
        for batch in stages()[1].batches("train", 0)
        for row in zip(batch.ids, batch.targets, batch.mask, strict=True)
    ]
    answer, end = template().tokens.answer, template().tokens.eos
    for ids, targets, mask in rows:
        start = ids.tolist().index(answer)
        assert not targets[: start + 1].any()
        assert torch.equal(targets[start + 1 :], mask[start + 1 :])
        assert ids[mask][-1] == end


def test_texts_are_learned_whole() -> None:
    for batch in stages()[0].batches("train", 0):
        assert not batch.targets[:, 0].any()
        assert torch.equal(batch.targets[:, 1:], batch.mask[:, 1:])


@pytest.mark.parametrize("index", range(4))
def test_splits_and_steps_differ_and_repeat(index: int) -> None:
    stage = stages()[index]

    def said(split: str, step: int) -> list[str]:
        batches: list[Rows | Conversations] = stage.batches(split, step)  # type: ignore[arg-type]
        return [text for batch in batches for text in texts(batch.rows if isinstance(batch, Conversations) else batch)]

    assert said("train", 0) == said("train", 0)
    assert said("train", 0) != said("train", 1)
    assert said("train", 0) != said("validation", 0)


def test_a_share_of_the_real_tokens_is_chosen() -> None:
    mask = torch.rand(50, 60) < 0.7
    chosen = choose(mask, 0.15, torch.Generator().manual_seed(1))
    assert not (chosen & ~mask).any()
    assert (chosen.sum() / mask.sum()).item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(choose(mask, 1.0, torch.Generator()), mask)
    assert not choose(mask, 0.0, torch.Generator()).any()


@pytest.mark.parametrize("parts", [1, 3, 4, 6, 50])
def test_micro_batches_hold_every_row_once(parts: int) -> None:
    rows = collate_rows([Encoded(list(range(1, 2 + index % 7)), [True] * (1 + index % 7)) for index in range(20)], 0)
    split = split_rows(rows, parts)
    assert sum(len(part) for part in split) == 20
    assert sum(part.tokens for part in split) == rows.tokens
    assert len(split) <= max(parts, 4)


def test_the_decoder_of_stage_1_sends_no_gradient_into_the_encoder() -> None:
    subject = learner()
    batches = stages()[0].batches("train", 0)
    config = replace(JOINT, encoder_weight=0.0)
    loss = joint_loss(subject, batches[0], batches, config, torch.Generator().manual_seed(0)).loss
    loss.backward()
    assert isinstance(subject.model.encoder, Encoder)
    for name, parameter in subject.model.encoder.layers.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name


def test_running_norms_do_not_go_with_passes_that_are_computed_again() -> None:
    model = replace(MODEL, memory_attention=replace(MODEL.memory_attention, norm=MemoryNormConfig("ema-rms")))
    assert replace(RUN, model=model).model == model
    for config in (replace(AWARE, window=2), replace(AWARE, checkpointing=True)):
        with pytest.raises(UserError, match="cannot have window or checkpointing with ema-rms norms"):
            replace(RUN.having(config), model=model)
