"""Which pairs a step takes, from files and from the generator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from micro import mixed_data, read_of, template

from rxt.data.records import Interaction, PreferenceConversation, PreferenceTurn
from rxt.errors import UserError
from rxt.tasks.babi import BabiConfig
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.everyday.preferences import RejectedMix, generate_preferences
from rxt.training.corpus import Corpus, Split
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.preference.corpus import Pairs, PreferenceCorpus, PreferenceFiles, encode_ways, split_turns

MIX = RejectedMix()


def pair(name: str, other: str = "nobody") -> dict[str, object]:
    return {"query": f"who is {name}?", "accepted": {"answer": f"{name} is."}, "rejected": {"answer": f"{other} is."}}


def plain(name: str) -> dict[str, object]:
    return {"query": f"here is {name}", "answer": "Hello."}


def written(path: Path, *conversations: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps({"interactions": turns}) + "\n" for turns in conversations), encoding="utf-8")
    return str(path)


def files_of(corpus: PreferenceCorpus) -> Mapping[Split, tuple[PreferenceConversation, ...]]:
    (found,) = (source for source in corpus.made if isinstance(source, PreferenceFiles))
    return found.read.records


def queries(conversations: list[PreferenceConversation]) -> set[str]:
    return {turn.query for conversation in conversations for turn in conversation.turns}


def test_the_generator_alone() -> None:
    mix = EverydayConfig(kinds=("name", "city"), values=40, change_rate=0.9)
    config = mixed_data(everyday=mix)
    corpus = PreferenceCorpus.load(config, MIX, seed=7)
    found = corpus.conversations("train", step=3, size=4, turns=6)
    made = [generate_preferences("train", 6, 7, 12 + index, mix) for index in range(4)]
    assert [pairs.conversation for pairs in found] == [each.preferences for each in made]
    assert [list(pairs.questions.items()) for pairs in found] == [
        [(question.turn, question) for question in each.case.questions] for each in made
    ]
    held = PreferenceCorpus.load(config, MIX, seed=7, neutral_rate=0.5).conversations("train", step=3, size=4, turns=6)
    assert any(turn.neutral is not None for pairs in held for turn in pairs.conversation.turns)
    usual = EverydayConfig(kinds=("name", "city"), values=40)
    validation = [pairs.conversation for pairs in corpus.conversations("validation", step=3, size=4, turns=6)]
    assert validation == [generate_preferences("validation", 6, 7, 12 + index, usual).preferences for index in range(4)]


def test_files_are_mixed_in_and_some_are_held_out(tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.jsonl", *[[plain(f"a{index}"), pair(f"a{index}")] for index in range(100)])
    corpus = PreferenceCorpus.load(mixed_data(everyday_share=0.5, files=(pairs,)), MIX, seed=0)
    assert [len(files_of(corpus)[split]) for split in ("train", "validation")] == [98, 2]
    assert not queries(list(files_of(corpus)["train"])) & queries(list(files_of(corpus)["validation"]))
    found = [pairs.conversation for pairs in corpus.conversations("train", step=0, size=6, turns=4)]
    assert len(found) == 6
    assert sum(each in files_of(corpus)["train"] for each in found) == 3
    taken = [each for step in range(49) for each in corpus.conversations("train", step, 4, 4)]
    seen = [each.conversation for each in taken if each.conversation in files_of(corpus)["train"]]
    assert not any(each.questions for each in taken if each.conversation in files_of(corpus)["train"])
    assert len({id(each) for each in seen}) <= len(seen) == 98
    assert queries(seen) == queries(list(files_of(corpus)["train"])), "each once an epoch"


def test_the_other_stages_read_them_as_they_should_have_gone(tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.jsonl", *[[plain("a"), pair("a")]] * 60)
    corpus = Corpus.load(mixed_data(everyday_share=0.0, files=(pairs,)), seed=0)
    assert read_of(corpus)["train"][0].interactions == (
        Interaction("here is a", "Hello."),
        Interaction("who is a?", "a is."),
    )


def test_conversations_beside_preferences_are_for_the_other_stages(tmp_path: Path) -> None:
    chats = written(tmp_path / "chats.jsonl", *[[plain(f"b{index}")] for index in range(3)])
    pairs = written(tmp_path / "pairs.jsonl", *[[pair(f"a{index}")] for index in range(3)])
    config = mixed_data(everyday_share=0.0, files=(chats, pairs), validation_files=(pairs,))
    assert queries(list(files_of(PreferenceCorpus.load(config, MIX, 0))["train"])) == {
        f"who is a{index}?" for index in range(3)
    }
    assert (
        files_of(PreferenceCorpus.load(config, MIX, 0))["validation"]
        == files_of(PreferenceCorpus.load(config, MIX, 0))["train"]
    )
    with pytest.raises(UserError, match=r"chats\.jsonl: holds conversations without rejected answers"):
        PreferenceCorpus.load(mixed_data(everyday_share=0.5, files=(chats,)), MIX, 0)
    assert len(PreferenceCorpus.load(mixed_data(everyday_share=1.0, files=(chats,)), MIX, 0).made) == 1


def test_long_conversations_are_split_where_pieces_have_pairs() -> None:
    way = PreferenceTurn(Interaction("q", "yes"), Interaction("q", "no"))
    bare = PreferenceTurn(Interaction("q", "yes"))
    conversation = PreferenceConversation((bare, way, bare, bare, bare, way, way), "s")
    assert split_turns(conversation, 2) == [
        PreferenceConversation((bare, way), "s"),
        PreferenceConversation((bare, way), "s"),
        PreferenceConversation((way,), "s"),
    ]


def test_pairs_that_are_alike_in_tokens_are_no_pairs(tmp_path: Path) -> None:
    same = {
        "query": "q",
        "accepted": {"answer": "yes " * 60 + "a"},
        "rejected": {"answer": "yes " * 60 + "b"},
    }  # both are cut
    pairs = written(tmp_path / "pairs.jsonl", *[[same, pair("a")]] * 3, [same])
    config = mixed_data(everyday_share=0.0, files=(pairs,), validation_files=(pairs,))
    corpus, alike = PreferenceCorpus.load(config, MIX, 0).differing(template())
    assert alike == 8
    assert [len(files_of(corpus)[split]) for split in ("train", "validation")] == [3, 3]
    assert [ways.rejected is None for ways in encode_ways(Pairs(files_of(corpus)["train"][0], {}), template())] == [
        True,
        False,
    ]
    only = written(tmp_path / "only.jsonl", [same], [same])
    with pytest.raises(
        UserError, match="in every pair the accepted and the rejected answer are alike in the model's tokens"
    ):
        PreferenceCorpus.load(mixed_data(everyday_share=0.0, files=(only,)), MIX, 0).differing(template())


def test_a_part_that_the_template_has_not_is_named(tmp_path: Path) -> None:
    thinking = {"query": "hello", "accepted": {"answer": "a", "think": "hm"}, "rejected": {"answer": "b"}}
    pairs = written(tmp_path / "pairs.jsonl", [thinking], [thinking])
    with pytest.raises(
        UserError, match=r"^the conversation that begins 'hello': the alpha template has no thinking part"
    ):
        PreferenceCorpus.load(mixed_data(everyday_share=0.0, files=(pairs,)), MIX, 0).differing(template())


def test_too_little_and_bad_records_are_one_line(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [pair("a")])
    with pytest.raises(UserError, match="one conversation is too little to train on"):
        PreferenceCorpus.load(mixed_data(everyday_share=0.0, files=(one,)), MIX, 0)
    bad = written(tmp_path / "bad.jsonl", [pair("a")], [pair("a", other="a")], [pair("b")])
    with pytest.raises(UserError, match=r"bad\.jsonl:2: interactions\[0\]\.rejected: the same as accepted"):
        PreferenceCorpus.load(mixed_data(everyday_share=0.0, files=(bad,)), MIX, 0)
    skipped = PreferenceCorpus.load(mixed_data(everyday_share=0.0, files=(bad,), on_bad="skip"), MIX, 0)
    assert sum(len(found) for found in files_of(skipped).values()) == 2
    with pytest.raises(UserError, match="the task babi has none"):
        PreferenceCorpus.load(DataConfig((TaskSource("babi", BabiConfig(folder="folder")),)), MIX, 0)
