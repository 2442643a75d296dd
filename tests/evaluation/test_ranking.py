"""How rewards rank: the default one as asked for, and every share as it is counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.errors import UserError
from rxt.evaluation.ranking import (
    CLASSES,
    SHIPPED,
    Exchange,
    Quadruple,
    Ranking,
    everyday_quadruples,
    plain_bleu,
    rank,
    read_quadruples,
)
from rxt.evaluation.reward import score

ONE = {
    "previous": {"query": "I have a dog.", "answer": "Dogs are wonderful!"},
    "query": "What is it called?",
    "reference": "Your dog is called Rex.",
    "paraphrase": "Its name is Rex.",
    "unrelated": "Water boils.",
}


def test_the_default_reward_ranks_as_asked_for() -> None:
    """The means of the four classes are in order in every group, far apart for a copy, and BLEU is worse at it."""
    shipped = read_quadruples(SHIPPED)
    for group in (shipped[1::2], shipped[0::2], everyday_quadruples(30, 1)):
        ours, plain = rank(score, group), rank(plain_bleu, group)
        means = [ours.means[name].value for name in CLASSES]
        assert means[0] == 10
        assert means == sorted(means, reverse=True)
        assert means[1] > 2 * means[2], "a copy gets clearly less than a paraphrase"
        assert ours.strict >= 0.6, "paraphrases that share no word with the reference are beyond it"
        assert ours.strict > 2 * plain.strict
        assert ours.pairs["exact", "copy"] == 1, "a copy never wins"


def test_the_shipped_quadruples_are_many_and_different() -> None:
    shipped = read_quadruples(SHIPPED)
    assert len(shipped) >= 40
    assert len(shipped) + len(everyday_quadruples(30, 1)) >= 60
    assert len({each.reference for each in shipped}) == len(shipped)
    assert all(len(set(each.answers)) == 4 for each in shipped)


def test_everyday_quadruples_are_the_same_for_a_seed() -> None:
    first = everyday_quadruples(5, 1)
    assert first == everyday_quadruples(5, 1)
    assert first != everyday_quadruples(5, 2)
    assert all(len({*each.answers, each.wrong}) == 5 for each in first)


def test_shares_are_counted() -> None:
    found = Ranking(((4, 3, 2, 1), (4, 3, 3, 1), (1, 2, 3, 4)))
    assert found.strict == pytest.approx(1 / 3)
    assert found.pairs["exact", "paraphrase"] == pytest.approx(2 / 3)
    assert found.pairs["paraphrase", "copy"] == pytest.approx(1 / 3), "a tie is not right"
    assert found.pairs["copy", "unrelated"] == pytest.approx(2 / 3)
    assert found.pairwise == pytest.approx((2 + 2 + 2 + 1 + 2 + 2) / 18)
    assert found.means["exact"].value == 3


def test_a_reward_sees_reference_and_previous_interaction() -> None:
    seen: list[tuple[str, str, str, str]] = []
    quadruple = Quadruple(
        Exchange("q", "a"), "query", "reference", "paraphrase", "unrelated", exact="exact", wrong="wrong"
    )
    found = rank(lambda *texts: seen.append(texts) or float(len(seen)), [quadruple])  # type: ignore[func-returns-value]
    assert seen == [
        (answer, "reference", "q\na", "query") for answer in ("exact", "paraphrase", "a", "unrelated", "wrong")
    ]
    assert (found.scores, found.wrong) == (((1, 2, 3, 4),), ((2, 5),))
    assert found.above_wrong == 0
    with pytest.raises(UserError, match="nothing to rank"):
        rank(score, [])


def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(ONE) + "\n\n" + json.dumps({**ONE, "exact": "Rex.", "copy": "I have a dog."}) + "\n")
    first, second = read_quadruples(path)
    assert first.answers == ("Your dog is called Rex.", "Its name is Rex.", "Dogs are wonderful!", "Water boils.")
    assert second.answers == ("Rex.", "Its name is Rex.", "I have a dog.", "Water boils.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no quadruple in it"),
        (b"{}\n", r"own\.jsonl:1: previous: field required"),
        (json.dumps(ONE).encode() + b"\nnot json\n", r"own\.jsonl:2: not JSON"),
        (json.dumps({**ONE, "query": 3}).encode(), r"own\.jsonl:1: query: .*, found 3"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_bad_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_quadruples(path)
