"""Which episodes are played: the strategies do what they say, and the policy answers what it should."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from micro import mixed_data, template
from reinforcing import CONFIG, REINFORCED, Letters, corpus, episodes

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import long_range
from rxt.training.corpus import Corpus
from rxt.training.reinforcement.config import EpisodePhase, ReinforcementConfig, Strategy
from rxt.training.reinforcement.episodes import Episode, episodes_of
from rxt.training.reinforcement.rewards import CompositeReward, RecallReward


def phase(strategy: Strategy, turns: int) -> EpisodePhase:
    return EpisodePhase(steps=2, turns=turns, batch_size=4, strategy=strategy)


def queries(episode: Episode) -> list[str]:
    return [step.interaction.query for step in episode if step.interaction is not None]


def test_long_range_episodes_return_to_their_first_interaction() -> None:
    for index in range(5):
        for episode in episodes_of(
            corpus(), template(), CONFIG, phase("long-range", 7), RecallReward(), "train", index
        ):
            assert len(episode) == 7
            last = episode[-1].question
            assert last is not None
            assert (last.turn, last.told_turn) == (6, 0)
            assert last.value is not None
            assert episode[0].interaction is not None
            assert last.value in episode[0].interaction.query
            assert episode[-1].distance == 6
            assert not any(step.question is not None and step.question.told_turn == 0 for step in episode[:-1]), (
                "in between the topic is another"
            )


def test_multi_step_and_single_step_episodes_are_conversations() -> None:
    cases: list[tuple[Strategy, int]] = [("multi-step", 6), ("single-step", 2)]
    for strategy, turns in cases:
        found = episodes_of(corpus(), template(), CONFIG, phase(strategy, turns), RecallReward(), "train", 3)
        assert [len(episode) for episode in found] == [turns] * 4
        assert all(episode[-1].answered for episode in found)
        assert found != episodes_of(corpus(), template(), CONFIG, phase(strategy, turns), RecallReward(), "train", 4)
        assert queries(found[0]) != queries(found[1])
    with pytest.raises(UserError, match="must be 2 for single-step episodes, found 3"):
        phase("single-step", 3)


def test_the_policy_answers_questions_after_the_warm_up() -> None:
    for warm_up in (1, 3):
        for episode in episodes(replace(CONFIG, warm_up=warm_up)):
            assert not any(step.answered for step in episode[:warm_up])
            assert all(step.answered == (step.question is not None) for step in episode[warm_up:])
    everything = episodes(replace(CONFIG, score="all"))
    assert all(step.answered for episode in everything for step in episode[1:])
    assert any(step.question is None for episode in everything for step in episode[1:])
    by_recall = episodes(replace(CONFIG, score="all"), RecallReward())
    assert all(step.answered == (step.question is not None) for episode in by_recall for step in episode[1:]), (
        "it cannot judge others"
    )


def conversations_of(folder: Path, count: int, turns: int, **more: object) -> str:
    path = folder / "chats.jsonl"
    lines = [
        {
            "interactions": [{"query": f"q {index} {turn}?", "answer": f"word{index} {turn}"} for turn in range(turns)],
            **more,
        }
        for index in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_long_range_episodes_of_files_have_another_topic_in_between(tmp_path: Path) -> None:
    name = conversations_of(tmp_path, 12, 6)
    data = mixed_data(everyday_share=0.0, files=(name,), validation_files=(name,))
    read = Corpus.load(data, 0)
    for episode in episodes_of(read, template(), CONFIG, phase("long-range", 5), CompositeReward(), "train", 0):
        first, *between, last = (query.split()[1] for query in queries(episode))
        assert first == last
        assert len(between) == 3
        assert set(between) != {first}
        assert [step.answered for step in episode] == [False, True, True, True, True], (
            "a file does not say what its questions are"
        )


def test_what_was_not_to_be_learned_is_not_answered() -> None:
    first, between = (
        Conversation(tuple(Interaction(f"{name} {turn}", "yes") for turn in range(3)), None, frozenset({1}))
        for name in "ab"
    )
    found = long_range(first, between)
    assert [each.query for each in found.interactions] == ["a 0", "b 0", "b 1", "b 2", "a 1"]
    assert found.unlearned == {2, 4}


def test_the_published_layout_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mrl.jsonl"
    turns = [{"query": "And my cat?", "answer": "Tom."}, {"query": "And I?", "answer": "Ann."}]
    line = {"query": "I am Ann, my cat is Tom.", "answer": "Hello Ann!", "interactions": turns}
    path.write_text(f"{json.dumps(line)}\n{json.dumps(line)}\n", encoding="utf-8")
    read = Corpus.load(mixed_data(everyday_share=0.0, files=(str(path),), validation_files=(str(path),)), 0)
    episode = episodes_of(read, template(), CONFIG, phase("multi-step", 4), CompositeReward(), "train", 0)[0]
    assert queries(episode) == ["I am Ann, my cat is Tom.", "And my cat?", "And I?"]
    assert [step.answered for step in episode] == [False, True, True]


def test_conversations_of_one_turn_are_nothing_to_remember(tmp_path: Path) -> None:
    name = conversations_of(tmp_path, 3, 1)
    read = Corpus.load(mixed_data(everyday_share=0.0, files=(name,), validation_files=(name,)), 0)
    with pytest.raises(UserError, match="no train conversation of the files has 2 turns or more"):
        episodes_of(read, template(), CONFIG, phase("multi-step", 4), CompositeReward(), "train", 0)


def test_references_without_words_cannot_be_scored(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    line = {"interactions": [{"query": "Hi", "answer": "…"}, {"query": "Who am I?", "answer": "?!"}]}
    path.write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    read = Corpus.load(mixed_data(everyday_share=0.0, files=(str(path),), validation_files=(str(path),)), 0)
    with pytest.raises(UserError, match="none of 4 episodes has a question that the reward composite can judge"):
        episodes_of(read, template(), CONFIG, phase("multi-step", 4), CompositeReward(), "train", 0)
    assert any(
        step.answered
        for step in episodes_of(read, template(), CONFIG, phase("multi-step", 4), Letters(), "train", 0)[0]
    )


def test_recall_needs_data_that_knows_its_values(tmp_path: Path) -> None:
    name = conversations_of(tmp_path, 3, 4)
    read = Corpus.load(mixed_data(everyday_share=0.0, files=(name,), validation_files=(name,)), 0)
    with pytest.raises(UserError, match="the reward recall can judge"):
        episodes_of(read, template(), CONFIG, phase("multi-step", 4), RecallReward(), "train", 0)


def test_episodes_are_functions_of_their_number() -> None:
    first, again, other = (episodes(index=index) for index in (3, 3, 4))
    assert first == again
    assert first != other
    assert REINFORCED.stage(ReinforcementConfig) == CONFIG
