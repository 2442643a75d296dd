"""How good an answer is, from 0 to 10, given the answer that was hoped for, the interaction before, and the question.

    similarity = bleu · BLEU + (1 − bleu) · cosine                 to the reference
    score = 10 · ((1 − context) · similarity · (1 − copy · copied) · (1 − length · excess) + context · grounded)

``copied`` is the share of the answer that stands in the previous interaction and not in the reference (of its words'
weight, or of its runs of three words, whichever is more), ``grounded`` the share of the weight that stands in either,
``excess`` how much too long it is. So similarity to what was said before counts only as far as the reference shares it,
and an answer that repeats the last turn cannot win: the published weights give it as much as the right answer. Words
that stand in the question say little in an answer, and weigh little. The vectors behind cosine and shares are fixed
(``text_vectors``); nothing here comes from the model.

The reward sees words, not meanings: a paraphrase that shares no word with the reference is like any unrelated text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rxt.errors import UserError
from rxt.evaluation.text_vectors import Vector, cosine, vector, words

HIGHEST = 10.0
RUN = 3
"""Words of a run that counts as repeated."""
EVAL_EXTRA = "pip install 'reactive-transformers[eval]'"


@dataclass(frozen=True)
class RewardWeights:
    """What counts how much; every weight is a fraction."""

    bleu: float = 0.1
    """Of the similarity; the cosine has the rest."""
    copy: float = 0.9
    """Of the similarity: what an answer loses that is copied from the last turn altogether."""
    length: float = 0.8
    """Of the similarity: what an endless answer loses."""
    asked: float = 0.2
    """Of a word's weight: what a word has that stands in the question, for the news of an answer are its other
    words."""
    context: float = 0.04
    """Of the score: for speaking of what the reference or the last turn speaks of. Puts a copy before an unrelated
    text."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise UserError(f"reward: the weight {name} must be from 0 to 1, found {value}")
        if not self.asked:
            raise UserError(
                "reward: the weight asked must be above 0, or an answer in the words of the question has nothing to it"
            )


DEFAULT = RewardWeights()


def score(answer: str, reference: str, previous: str, query: str = "", weights: RewardWeights = DEFAULT) -> float:
    """The reward of one answer, 0 to 10: 10 for the reference itself, 0 for an answer without words.

    Args:
        previous: the interaction before, query and answer; empty in the first turn.
        query: what is answered, if known.

    Raises:
        UserError: the reference has no words; sacrebleu is not installed.
    """
    if not words(reference):
        raise UserError("reward: the reference has no words, so nothing can be like it")
    said, wanted, before = (vector(text, set(words(query)), weights.asked) for text in (answer, reference, previous))
    if not said:
        return 0.0
    similarity = weights.bleu * bleu(answer, reference) + (1 - weights.bleu) * cosine(said, wanted)
    copied = max(_share(said, before, wanted), _repeated(words(answer), words(previous), words(reference)))
    similarity *= 1 - weights.copy * copied
    similarity *= 1 - weights.length * _excess(len(words(answer)), len(words(reference)))
    grounded = _share(said, {**before, **wanted}, {})
    return HIGHEST * min(1.0, (1 - weights.context) * similarity + weights.context * grounded)


def scores(
    answers: Sequence[str],
    references: Sequence[str],
    previous: Sequence[str],
    queries: Sequence[str],
    weights: RewardWeights = DEFAULT,
) -> list[float]:
    """The rewards of a batch of answers, each with its own reference, previous interaction and query."""
    return [score(*row, weights) for row in zip(answers, references, previous, queries, strict=True)]


def bleu(answer: str, reference: str) -> float:
    """Sentence BLEU of sacrebleu as a fraction, in any case, with as many orders as there are n-grams."""
    try:
        import sacrebleu
    except ImportError:
        raise UserError(f"the reward needs sacrebleu: {EVAL_EXTRA}") from None
    return min(1.0, sacrebleu.sentence_bleu(answer, [reference], lowercase=True).score / 100)


def _share(said: Vector, inside: Vector, outside: Vector) -> float:
    """The share of what was said that is in one vector and not in the other; of every feature as much as is there."""
    total = sum(said.values())
    return (
        sum(max(0.0, min(value, inside.get(key, 0.0)) - outside.get(key, 0.0)) for key, value in said.items()) / total
    )


def _repeated(said: Sequence[str], inside: Sequence[str], outside: Sequence[str]) -> float:
    """The share of runs of three words that stand in one text and not in the other; a shorter text is one run."""
    length = min(RUN, len(said))
    runs, known, fine = (_runs(text, length) for text in (said, inside, outside))
    return sum(run in known and run not in fine for run in runs) / len(runs)


def _runs(text: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + length]) for start in range(len(text) - length + 1)]


def _excess(length: int, wanted: int) -> float:
    """0 up to twice the reference's length and two words, towards 1 for an endless answer."""
    room = 2 * wanted + 2
    return max(0.0, 1 - room / length)
