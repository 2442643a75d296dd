"""bAbI as training data: whole beginnings of stories, tasks in their shares, and nothing of the validation part."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import AWARE, INTERACTION, JOINT, MODEL, learner, template

from rxt.config import AttentionConfig
from rxt.data.encoding import encode_conversation
from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.babi import OKAY, BabiConfig, TaskShare, read_split
from rxt.training.corpus import Corpus
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.file_sources import split_turns
from rxt.training.stages.base import Stage
from rxt.training.stages.interaction import InteractionStage
from rxt.training.stages.joint import JointStage
from rxt.training.stages.memory_aware import MemoryAwareStage, Phase


def load(folder: Path, mix: BabiConfig | None = None) -> Corpus:
    return Corpus.load(DataConfig((TaskSource("babi", replace(mix or BabiConfig(), folder=str(folder))),)), seed=3)


def queries(conversation: Conversation) -> tuple[str, ...]:
    return tuple(turn.query for turn in conversation.interactions)


def test_batches_are_beginnings_of_training_stories(babi: Path) -> None:
    corpus = load(babi)
    whole = {
        tuple(line.text for line in story.lines) for stories in read_split(babi, "train").values() for story in stories
    }
    held_out = {tuple(line.text for line in story.lines) for story in read_split(babi, "validation")[1]}
    for turns in (3, 4, 9):
        seen = {queries(each) for step in range(30) for each in corpus.conversations("train", step, 8, turns)}
        assert seen <= {story[:turns] for story in whole}
        assert len(seen) > 20
        assert not seen & {story[:turns] for story in held_out}
    assert {
        queries(each)
        for step in range(9)
        for each in corpus.conversations("validation", step, 8, 4)
        if len(each.interactions) == 4
    } == held_out
    assert corpus.conversations("train", 7, 8, 4) == load(babi).conversations("train", 7, 8, 4)
    assert corpus.conversations("train", 7, 8, 4) != corpus.conversations("train", 8, 8, 4)


def test_stories_end_with_a_question(babi: Path) -> None:
    (babi / "qa9_late_train.txt").write_text(
        ("1 Tom sat.\n" + "".join(f"{n} Tom sat.\n" for n in range(2, 7)) + "7 Did Tom sit?\tyes\t1\n8 Tom ran.\n") * 21
    )
    corpus = load(babi)
    for turns, last in (
        (3, {"Where is Anna?", "What does Anna hold?"}),
        (8, {"Where is Tom?", "What does Anna hold?", "Did Tom sit?"}),
    ):
        drawn = [story.interactions for step in range(30) for story in corpus.conversations("train", step, 8, turns)]
        assert {story[-1].query for story in drawn} == last
    with pytest.raises(UserError, match="no bAbI story has a question in its first 2 lines"):
        corpus.conversations("train", 0, 8, 2)


def test_shares_are_of_lines(babi: Path) -> None:
    for share in (1.0, 4.0):
        corpus = load(babi, BabiConfig((TaskShare(8, share),)))
        lines = Counter[bool]()
        for step in range(100):
            for story in corpus.conversations("train", step, 16, 99):
                lines["lamp" in story.interactions[0].query] += len(story.interactions)
        assert lines[True] / lines[False] == pytest.approx(share, rel=0.15)


def test_single_lines_come_from_all_of_a_story(babi: Path) -> None:
    corpus = load(babi)
    found = Counter(line.answer for step in range(20) for line in corpus.interactions("train", step, 10))
    assert {OKAY, "attic", "lamp,rope"} <= found.keys()
    assert len(corpus.interactions("train", 0, 7)) == 7


def test_one_in_so_many_acknowledgements_is_learned(babi: Path) -> None:
    for okay_every in (1, 2, 5):
        corpus = load(babi, BabiConfig(okay_every=okay_every))
        turns = [
            (turn.answer, index in story.unlearned)
            for source in corpus.told
            for story in source.all_conversations(0)
            for index, turn in enumerate(story.interactions)
        ]
        assert not any(without for answer, without in turns if answer != OKAY)
        learned = [not without for answer, without in turns if answer == OKAY]
        assert sum(learned) / len(learned) == pytest.approx(1 / okay_every, abs=0.05)


def test_what_is_not_learned_has_no_targets_wherever_it_is_cut() -> None:
    whole = Conversation(tuple(Interaction(f"q{turn}", f"a{turn}") for turn in range(5)), None, frozenset({0, 3}))
    assert [any(turn.loss) for turn in encode_conversation(whole, template())] == [False, True, True, False, True]
    assert [piece.unlearned for piece in split_turns(whole, 2)] == [{0}, {1}, set()]


def test_every_stage_learns_from_stories_also_with_an_encoder_that_reads_memory(babi: Path) -> None:
    corpus = load(babi)
    reads = replace(MODEL, encoder=replace(MODEL.encoder, cross_attention=AttentionConfig.sqa(4)))
    aware = replace(AWARE, phases=(Phase(2, 2, 8, echo=True), Phase(2, 4, 6)), mean_over="answers")
    subject = learner(reads)
    stages: list[Stage] = [
        JointStage(corpus, template(), JOINT),
        InteractionStage(corpus, template(), INTERACTION),
        MemoryAwareStage(corpus, template(), aware),
    ]
    for stage in stages:
        for step in (0, 3):
            stage.unfreeze(subject, step)
            batches = stage.batches("train", step)
            loss = sum(stage.loss(subject, batch, batches, torch.Generator().manual_seed(1)).loss for batch in batches)
            assert isinstance(loss, torch.Tensor)
            assert torch.isfinite(loss)
            loss.backward()
    heard = dict(subject.model.encoder.named_parameters())["layers.0.cross_attention.out_proj.weight"].grad
    assert heard is not None
    assert heard.abs().sum() > 0


def test_the_mean_over_answers_does_not_depend_on_the_turns(babi: Path) -> None:
    corpus, subject = load(babi), learner(double=True)
    stage = MemoryAwareStage(corpus, template(), replace(AWARE, phases=(Phase(1, 4, 6),), mean_over="answers"))
    batches = stage.batches("train", 0)
    found = stage.loss(subject, batches[0], batches, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.loss, found.metrics["answer"])


def test_a_folder_that_cannot_be_trained_on_is_one_line(babi: Path) -> None:
    with pytest.raises(UserError, match="--data DIR"):
        Corpus.load(DataConfig((TaskSource("babi", BabiConfig()),)), seed=0)
    corpus = load(babi)
    assert corpus.warnings() == []
    assert "Anna walked to room 1." in set(corpus.all_text(0))
    assert "Anna walked to room 20." not in set(corpus.all_text(0))
