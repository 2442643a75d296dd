"""Whether a reward ranks answers as a person would: exact, paraphrase, copy of the last turn, unrelated text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from random import Random

from pydantic import TypeAdapter

from rxt.config import parse
from rxt.errors import UserError
from rxt.evaluation.bootstrap import Estimate, mean
from rxt.evaluation.reward import HIGHEST, bleu
from rxt.files import read_bytes
from rxt.tasks.everyday import Split, generate, values_of
from rxt.tasks.everyday.wording import Wording

SHIPPED = Path(__file__).parent / "data" / "reward.jsonl"
"""Written by hand, before there were weights. The weights of the reward were chosen on its odd lines and on the
generator's validation split; what is reported is for the even lines and the test split."""
CLASSES = ("exact", "paraphrase", "copy", "unrelated")
"""The best first."""
TURNS = 12
Reward = Callable[[str, str, str, str], float]
"""Of an answer, given the reference, the previous interaction and the query."""


@dataclass(frozen=True)
class Exchange:
    """The interaction before."""

    query: str
    answer: str

    @property
    def text(self) -> str:
        """Both parts, a line each."""
        return f"{self.query}\n{self.answer}"


@dataclass(frozen=True)
class Quadruple:
    """A question in a conversation, the answer hoped for, and four answers to rank."""

    previous: Exchange
    query: str
    reference: str
    paraphrase: str
    """The same in other words."""
    unrelated: str
    exact: str | None = None
    """By default the reference itself."""
    copy: str | None = None
    """By default the previous answer again."""
    wrong: str | None = None
    """The reference with a wrong value in it, where there is one: looked at, not ranked."""

    @property
    def answers(self) -> tuple[str, str, str, str]:
        """In the order of :data:`CLASSES`."""
        return self.exact or self.reference, self.paraphrase, self.copy or self.previous.answer, self.unrelated


@dataclass(frozen=True)
class Ranking:
    """How a reward ranked N quadruples."""

    scores: tuple[tuple[float, ...], ...]
    """(N, 4): of every answer, by class."""
    wrong: tuple[tuple[float, float], ...] = ()
    """Of the paraphrase and of the wrong value, where there is one."""

    @property
    def strict(self) -> float:
        """Share of quadruples in the right order, without a tie."""
        return sum(all(row[at] > row[at + 1] for at in range(3)) for row in self.scores) / len(self.scores)

    @property
    def pairs(self) -> dict[tuple[str, str], float]:
        """For every two classes, the share of quadruples in which the better one has more."""
        return {
            (CLASSES[better], CLASSES[worse]): sum(row[better] > row[worse] for row in self.scores) / len(self.scores)
            for better, worse in combinations(range(4), 2)
        }

    @property
    def above_wrong(self) -> float:
        """Share of quadruples with a wrong value, one at least, in which the paraphrase has more."""
        return sum(paraphrase > wrong for paraphrase, wrong in self.wrong) / len(self.wrong)

    @property
    def pairwise(self) -> float:
        """Mean of ``pairs``."""
        return sum(self.pairs.values()) / len(self.pairs)

    @property
    def means(self) -> dict[str, Estimate]:
        """The mean score of every class, with its 95 % interval."""
        return {name: mean(column) for name, column in zip(CLASSES, zip(*self.scores, strict=True), strict=True)}


def rank(reward: Reward, quadruples: Sequence[Quadruple]) -> Ranking:
    """Score all four answers of every quadruple, one at least."""
    if not quadruples:
        raise UserError("reward: there is nothing to rank")

    def rewarded(each: Quadruple, answer: str) -> float:
        return reward(answer, each.reference, each.previous.text, each.query)

    rows = tuple(tuple(rewarded(each, answer) for answer in each.answers) for each in quadruples)
    wrong = tuple(
        (row[1], rewarded(each, each.wrong)) for each, row in zip(quadruples, rows, strict=True) if each.wrong
    )
    return Ranking(rows, wrong)


def plain_bleu(answer: str, reference: str, previous: str, query: str) -> float:
    """What there is to compare with: BLEU against the reference, 0 to 10. It looks at nothing else."""
    return HIGHEST * bleu(answer, reference)


def read_quadruples(path: Path) -> list[Quadruple]:
    """JSON Lines: ``{"previous": {"query", "answer"}, "query", "reference", "paraphrase", "unrelated", "exact"?,
    "copy"?, "wrong"?}``."""
    adapter = TypeAdapter(Quadruple)
    found: list[Quadruple] = []
    try:
        lines = read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1})") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{where}: not JSON ({error})") from None
            found.append(parse(adapter, values, where))
    if not found:
        raise UserError(f"{path}: there is no quadruple in it")
    return found


def everyday_quadruples(count: int, seed: int, split: Split = "test") -> list[Quadruple]:
    """Questions of a split of the everyday generator, one a conversation.

    The paraphrase is the generator's answer in another phrasing, the unrelated text an answer about another fact of the
    next conversation, the wrong value another one of the same kind.
    """
    found: list[Quadruple] = []
    index = 0
    while len(found) < count:
        case, other = (generate(split, TURNS, seed, number) for number in (index, index + 1))
        index += 1
        turns, question = case.conversation.interactions, case.questions[-1]
        reference, previous = turns[question.turn], turns[question.turn - 1]
        strangers = [
            other.conversation.interactions[asked.turn].answer
            for asked in other.questions
            if asked.value is not None and asked.kind != question.kind
        ]
        facts = [
            fact
            for fact in case.facts
            if (fact.subject, fact.kind, fact.value) == (question.subject, question.kind, question.value)
        ]
        draw = Wording(Random(index), unseen=False, surface_rate=0.0)
        fact = facts[-1]
        answers = [draw.ask(fact)[1] for _ in range(20)]
        others = [answer for answer in answers if answer != reference.answer]
        if strangers and others and not question.correct(previous.answer):
            before = Exchange(previous.query, previous.answer)
            wrong = reference.answer.replace(
                fact.value, Random(index).choice([value for value in values_of(fact.kind) if value != fact.value])
            )
            found.append(Quadruple(before, reference.query, reference.answer, others[0], strangers[0], wrong=wrong))
    return found
