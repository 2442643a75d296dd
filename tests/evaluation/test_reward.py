"""The reward: right answers win, copies of the last turn do not, whatever the text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxt.errors import UserError
from rxt.evaluation import reward
from rxt.evaluation.reward import DEFAULT, RewardWeights, bleu, score, scores
from rxt.evaluation.text_vectors import FUNCTION_WEIGHT, cosine, vector, words

PREVIOUS = "I have a dog.\nDogs are wonderful! What is your dog called?"
REFERENCE = "Your dog is called Rex."
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


def test_the_four_kinds_of_answers_in_order() -> None:
    exact = score(REFERENCE, REFERENCE, PREVIOUS)
    paraphrase = score("The name of your dog is Rex.", REFERENCE, PREVIOUS)
    copied = score("Dogs are wonderful! What is your dog called?", REFERENCE, PREVIOUS)
    unrelated = score("Water boils at a hundred degrees.", REFERENCE, PREVIOUS)
    assert exact == 10 > paraphrase > copied > unrelated >= 0
    assert copied < paraphrase / 2, "clearly less"


def test_a_copy_is_what_the_reference_does_not_share() -> None:
    repeated = "Rex is in the garden."
    assert score(repeated, repeated, repeated) == 10, "to say the same again may be right"
    assert score(repeated, "Rex sleeps on the sofa.", repeated) < score(repeated, "Rex sleeps on the sofa.", "")
    assert score("Rex sleeps on a sofa", "Rex sleeps on the sofa.", repeated) > score(
        repeated, "Rex sleeps on the sofa.", repeated
    )


def test_the_words_of_the_question_say_little() -> None:
    query = "What is my dog called?"
    for answer in ("Your dog is called Max.", "What is my dog called?"):
        assert score(answer, REFERENCE, PREVIOUS, query) < score(answer, REFERENCE, PREVIOUS) - 1
    assert score("Rex.", REFERENCE, PREVIOUS, query) > score("Your dog is called Max.", REFERENCE, PREVIOUS, query) + 2
    assert score("Yes, it is.", "Yes, it is.", "", "Is it?") == pytest.approx(10), "an answer in words of the question"


@given(TEXT, TEXT.filter(lambda text: bool(words(text))), TEXT, TEXT)
def test_every_answer_has_a_score_and_the_reference_the_highest(
    answer: str, reference: str, previous: str, query: str
) -> None:
    assert 0 <= score(answer, reference, previous, query) <= 10
    assert score(reference, reference, previous, query) == pytest.approx(10)


def test_no_words_no_reward() -> None:
    assert score("", REFERENCE, PREVIOUS) == 0
    assert score(" ?! …", REFERENCE, PREVIOUS) == 0
    with pytest.raises(UserError, match="the reference has no words"):
        score("hello", "?!", PREVIOUS)


def test_an_endless_answer_loses() -> None:
    for padding in ("and so on " * 40, f"{REFERENCE} " * 40):
        assert score(f"{REFERENCE} {padding}", REFERENCE, "") < score("Your dog's name is Rex.", REFERENCE, "")


def test_a_batch_is_its_answers() -> None:
    answers = [REFERENCE, "Rex", "no idea"]
    rest = [REFERENCE] * 3, [PREVIOUS, "", PREVIOUS], ["", "What is my dog called?", "And my dog?"]
    assert scores(answers, *rest) == [score(*row) for row in zip(answers, *rest, strict=True)]
    with pytest.raises(ValueError, match="zip"):
        scores(answers, [REFERENCE], [""], [""])


def test_weights_do_what_they_say() -> None:
    copied = "Dogs are wonderful! What is your dog called?"
    assert score(copied, REFERENCE, PREVIOUS, weights=replace(DEFAULT, copy=0.0)) > score(copied, REFERENCE, PREVIOUS)
    only_bleu = RewardWeights(bleu=1, copy=0, length=0, context=0)
    assert score("Your dog is Rex.", REFERENCE, PREVIOUS, weights=only_bleu) == pytest.approx(
        10 * bleu("Your dog is Rex.", REFERENCE)
    )
    only_cosine = RewardWeights(bleu=0, copy=0, length=0, context=0)
    expected = 10 * cosine(vector("Your dog is Rex."), vector(REFERENCE))
    assert score("Your dog is Rex.", REFERENCE, PREVIOUS, weights=only_cosine) == pytest.approx(expected)
    with pytest.raises(UserError, match="the weight copy must be from 0 to 1, found 2"):
        RewardWeights(copy=2)
    with pytest.raises(UserError, match="the weight asked must be above 0"):
        RewardWeights(asked=0)


def test_a_missing_sacrebleu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(UserError, match="the reward needs sacrebleu: pip install"):
        score("Rex", REFERENCE, "")


def test_bleu_is_a_fraction_in_any_case() -> None:
    assert bleu("YOUR DOG is called rex.", REFERENCE) == pytest.approx(1)
    assert bleu("nothing of that", REFERENCE) < 0.1


def test_words_and_numbers() -> None:
    assert words("It's the 3rd of May – NINETY-two, third time") == [
        "it's",
        "the",
        "3",
        "of",
        "may",
        "90",
        "2",
        "3",
        "time",
    ]
    assert words("one day") == ["one", "day"]
    assert words("?!") == []


def test_content_words_weigh_and_their_pieces_are_near() -> None:
    near, far = cosine(vector("walking"), vector("walked")), cosine(vector("walking"), vector("table"))
    assert near > 0.15
    assert far < 0.05
    assert cosine(vector("the dog"), vector("a dog")) > 0.98
    assert cosine(vector("the dog"), vector("the cat")) < 0.1
    assert cosine(vector("12"), vector("120")) == 0
    assert cosine({}, vector("dog")) == 0
    assert sum(value**2 for value in vector("dog").values()) == pytest.approx(1)
    assert vector("the") == {"the": FUNCTION_WEIGHT}
    assert cosine(vector("dog dog dog"), vector("dog")) == pytest.approx(1)
    faint = vector("the dog", {"dog"}, 0.2)
    assert faint == pytest.approx(
        {key: value * (1 if key == "the" else 0.2) for key, value in vector("the dog").items()}
    )


def test_the_reward_is_the_same_in_every_process() -> None:
    """Nothing in it depends on the order of a set or on Python's hash of a text."""
    import subprocess
    import sys

    code = (
        "from rxt.evaluation.reward import score; "
        f"print(score('The name of your dog is Rex.', {REFERENCE!r}, {PREVIOUS!r}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**_environment(), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert float(found.pop()) == pytest.approx(reward.score("The name of your dog is Rex.", REFERENCE, PREVIOUS))


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)
