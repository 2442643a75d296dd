"""The data of a run: a function of split and step, with nothing lost, mixed up or trained on that is held out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from micro import mixed_data, read_of, template

from rxt.data.encoding import encode_conversation
from rxt.data.fitting import fitted_conversation
from rxt.data.pieces import opening
from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig, generate
from rxt.training.corpus import Corpus, Mixture, Split, texts_of
from rxt.training.file_sources import pack, pick, split_turns


def conversation(name: int, turns: int = 2, system: str | None = None) -> Conversation:
    return Conversation(tuple(Interaction(f"{name} q{turn}", f"{name} a{turn}") for turn in range(turns)), system)


def write(path: Path, count: int, turns: int = 2, first: int = 0) -> str:
    lines = []
    for name in range(first, first + count):
        interactions = [vars(turn) for turn in conversation(name, turns).interactions]
        lines.append(json.dumps({"interactions": interactions}))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_pick_takes_each_item_once_an_epoch() -> None:
    items = list(range(7))
    steps = [pick(items, step, 3, "salt") for step in range(14)]
    flat = [item for step in steps for item in step]
    for epoch in range(6):
        assert sorted(flat[7 * epoch : 7 * epoch + 7]) == items
    assert flat[:7] != flat[7:14], "every epoch has its own order"
    assert [pick(items, step, 3, "salt") for step in range(14)] == steps
    assert [pick(items, step, 3, "other") for step in range(14)] != steps
    assert pick(items, 0, 0, "salt") == []
    assert Counter(pick(items, 0, 21, "salt")) == dict.fromkeys(items, 3)


def test_long_conversations_are_split_and_nothing_is_lost() -> None:
    whole = conversation(0, 7, "be kind")
    pieces = split_turns(whole, 3)
    assert [len(piece.interactions) for piece in pieces] == [3, 3, 1]
    assert tuple(turn for piece in pieces for turn in piece.interactions) == whole.interactions
    assert {piece.system for piece in pieces} == {"be kind"}


def test_one_conversation_in_fifty_is_held_out(tmp_path: Path) -> None:
    corpus = Corpus.load(mixed_data(0.0, (write(tmp_path / "a.jsonl", 120),)), seed=0)
    assert (len(read_of(corpus)["train"]), len(read_of(corpus)["validation"])) == (117, 3)
    assert not set(read_of(corpus)["train"]) & set(read_of(corpus)["validation"])
    trained = {each for step in range(60) for each in corpus.conversations("train", step, 4, 2)}
    assert trained == set(read_of(corpus)["train"])
    assert set(corpus.conversations("validation", 0, 9, 2)) == set(read_of(corpus)["validation"])
    seen = set(corpus.all_text(0))
    assert not any(text in seen for each in read_of(corpus)["validation"] for text in texts_of(each)), (
        "nor does the tokenizer see it"
    )


def test_a_validation_file_is_all_of_the_validation(tmp_path: Path) -> None:
    config = mixed_data(0.0, (write(tmp_path / "a.jsonl", 1),), (write(tmp_path / "b.jsonl", 2, first=5),))
    corpus = Corpus.load(config, seed=0)
    assert len(read_of(corpus)["train"]) == 1
    assert corpus.conversations("train", 3, 2, 2) == [conversation(0)] * 2
    assert set(corpus.conversations("validation", 0, 4, 2)) == {conversation(5), conversation(6)}


def test_two_sources_share_every_batch(tmp_path: Path) -> None:
    corpus = Corpus.load(mixed_data(0.75, (write(tmp_path / "a.jsonl", 60),)), seed=0)
    for step in range(5):
        batch = corpus.conversations("train", step, 8, 2)
        assert [each in read_of(corpus)["train"] for each in batch] == [False] * 6 + [True] * 2
        assert batch == corpus.conversations("train", step, 8, 2)
    assert corpus.conversations("train", 0, 8, 2)[:6] != corpus.conversations("train", 1, 8, 2)[:6]


def test_the_tokenizer_reads_what_the_run_reads(tmp_path: Path) -> None:
    files = (write(tmp_path / "a.jsonl", 60),)
    only_files = list(Corpus.load(mixed_data(0.0, files), seed=0).all_text(5))
    assert len(only_files) == 58 * 4
    mixed = list(Corpus.load(mixed_data(0.5, files), seed=0).all_text(5))
    assert mixed[: len(only_files)] == only_files
    assert len(mixed) > len(only_files)


def test_a_system_prompt_comes_first_and_a_part_the_template_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    turn = {"query": "hello", "answer": "b"}
    rows = [{"interactions": [turn | part], "system": "be kind"} for part in ({}, {}, {"think": "of what?"})]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    corpus = Corpus.load(mixed_data(0.0, (str(path),)), seed=0)
    assert next(iter(corpus.all_text(0))) == "be kind"
    assert corpus.lengths(template()).sequences == 4
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        UserError, match=r"^the conversation that begins 'hello': the alpha template has no thinking part"
    ):
        Corpus.load(mixed_data(0.0, (str(path),)), seed=0).lengths(template())


def test_a_system_prompt_is_a_message_that_nobody_answers_where_the_template_has_no_form_for_it() -> None:
    alpha, turn = template(), Interaction("hello", "hi")
    told, answered = encode_conversation(Conversation((turn,), "be kind"), alpha)
    assert told.ids == opening(alpha, "be kind").ids == alpha.interaction(Interaction("be kind", "")).ids
    assert (any(told.loss), any(answered.loss)) == (False, True)
    ((first, *_), *_) = fitted_conversation(Conversation((turn,), "be kind " * 500), alpha, "split", 4)
    assert (len(first.ids), first.cut, any(first.loss)) == (alpha.max_length, True, False)


def test_encoded_turns_are_in_order() -> None:
    encoded = encode_conversation(conversation(3, 3), template())
    assert len(encoded) == 3
    assert all(any(turn.loss) for turn in encoded)


@pytest.mark.parametrize("everyday_share", [0.0, 0.5])
def test_answers_of_weight_0_are_memorized_and_not_learned(tmp_path: Path, everyday_share: float) -> None:
    def messages(name: str, weight: int) -> list[dict[str, object]]:
        return [
            {"role": "user", "content": f"hello {name}"},
            {"role": "assistant", "content": name, "weight": weight},
        ]

    rows = [messages(f"good {row}", 1) + messages(f"bad {row}", 0) for row in range(3)] + [messages("bad", 0)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    corpus = Corpus.load(mixed_data(everyday_share, (str(path),), (str(path),)), seed=0)
    singles = [each.answer for step in range(6) for each in corpus.interactions("train", step, 8)]
    assert {f"good {row}" for row in range(3)} <= set(singles)
    assert not any("bad" in answer for answer in singles)
    for whole in read_of(corpus)["train"]:
        learned = [any(turn.loss) for turn in encode_conversation(whole, template())]
        assert learned == ["good" in turn.answer for turn in whole.interactions]


def test_nothing_to_learn_is_one_line(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps({"messages": said}) + "\n") * 2)
    corpus = Corpus.load(mixed_data(0.0, (str(path),)), seed=0)
    with pytest.raises(UserError, match="no train conversation of the files has an answer to learn"):
        corpus.interactions("train", 0, 4)


def test_what_was_skipped_ignored_or_short_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = {"interactions": [{"query": "a", "answer": "b"}], "id": 7}
    path.write_text(json.dumps(good) + "\nnonsense\n{}\n" + json.dumps(good) + "\n")
    corpus = Corpus.load(mixed_data(0.0, (str(path),), (write(tmp_path / "b.jsonl", 1),), "skip"), seed=0)
    skipped, ignored, short = corpus.warnings()
    assert skipped.startswith(f"{path}: 2 bad records skipped, the first: {path}:2: not JSON")
    assert ignored == f"{path}: the key id is not read; left out of 2 records"
    assert short == "2 training conversations have a single turn: they teach answering, not remembering"


def test_one_conversation_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="one conversation is too little to train on: add more, or name --validation-data"
    ):
        Corpus.load(mixed_data(0.0, (write(tmp_path / "a.jsonl", 1),)), seed=0)


def test_texts_are_packed_whole() -> None:
    texts = [f"Text {number} of some. " * (1 + number % 5) for number in range(40)]
    whole = template()
    rows = pack(whole, texts)
    assert max(len(row.ids) for row in rows) <= whole.max_length
    assert [token for row in rows for token in row.ids] == [
        token for text in texts for piece in whole.text(text) for token in piece.ids
    ]
    assert len(rows) < sum(len(whole.text(text)) for text in texts)
    for row in rows:
        assert [token == whole.tokens.bos for token in row.ids] == [not learned for learned in row.loss]


def test_weights_share_a_batch() -> None:
    for size in range(1, 40):
        shares = dict(Mixture(((1.0, "a"), (2.0, "b"), (0.0, "c"), (1.0, "d"))).divide(size, step=size))
        assert sum(shares.values()) == size
        assert "c" not in shares
        assert abs(shares.get("b", 0) - size / 2) <= 1


def test_a_source_of_less_than_one_of_a_batch_has_its_turn() -> None:
    mixture = Mixture(((8.1, "a"), (0.9, "b"), (1.0, "c")))
    counts = Counter[str]()
    for step in range(1000):
        shares = dict(mixture.divide(5, step))
        assert sum(shares.values()) == 5
        counts.update(shares)
    assert abs(counts["a"] - 4050) < 10
    assert abs(counts["b"] - 450) < 10
    assert abs(counts["c"] - 500) < 10


def test_the_mix_of_generated_conversations_is_for_training_alone() -> None:
    mix = EverydayConfig(small_talk_rate=0.0, question_rate=0.9)
    usual, mixed = Corpus.load(mixed_data(), seed=0), Corpus.load(mixed_data(everyday=mix), seed=0)
    assert mixed.conversations("train", 3, 2, 6) == [
        generate("train", 6, 0, index, mix).conversation for index in (6, 7)
    ]
    assert mixed.conversations("train", 3, 2, 6) != usual.conversations("train", 3, 2, 6)
    assert mixed.conversations("validation", 3, 2, 6) == usual.conversations("validation", 3, 2, 6)


def test_a_phase_may_say_how_much_is_paraphrased() -> None:
    mix = EverydayConfig(paraphrase_rate=0.5)
    corpus = Corpus.load(mixed_data(everyday=mix), seed=0)

    def drawn(split: Split, rate: float | None) -> list[Conversation]:
        return corpus.conversations(split, 2, 6, 8, rate)

    assert drawn("train", None) == drawn("train", 0.5)
    assert drawn("train", 0.0) == Corpus.load(mixed_data(), seed=0).conversations("train", 2, 6, 8)
    assert drawn("train", 0.0) != drawn("train", 0.5)
    assert drawn("validation", 1.0) == drawn("validation", None)
