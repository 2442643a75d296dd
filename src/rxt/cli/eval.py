"""``rxt eval SUITE …``: one table, from a suite to the function that measures it."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from rxt.errors import UserError


class Suite(NamedTuple):
    """What ``rxt eval --help`` says of a suite, and the module in ``rxt.cli.suites`` whose ``run(argv)`` does it."""

    summary: str
    module: str


SUITES = {
    "open": Suite(
        "how much of what people type in their own words is remembered, and how much is invented", "open_talk"
    ),
    "retention": Suite("how often a fact is recalled, by how many turns ago it was told", "retention"),
    "hybrid": Suite("how well it thinks and calls tools over what was told, by how many turns ago", "hybrid"),
    "capacity": Suite("how many facts are held at once, with a pool of fragments and without", "capacity"),
    "perplexity": Suite(
        "how well the answers of a conversation file are predicted, and what memory is worth there", "perplexity"
    ),
    "kept": Suite("how likely a pre-trained base's own answers still are, now that it has a memory", "kept"),
    "latency": Suite("what a turn costs, early and late, beside a model that reads its history again", "latency"),
    "reward": Suite("how well the reward for answers ranks exact, paraphrased, copied and unrelated ones", "reward"),
    "report": Suite("one page that shows what is remembered, for how long, and at what cost", "report"),
    "babi": Suite("how many questions of the bAbI tasks are answered, each story told line by line", "babi"),
}


def run(argv: list[str]) -> int:
    """Entry of the verb."""
    match argv:
        case [] | ["-h" | "--help", *_]:
            width = max(map(len, SUITES))
            lines = "\n".join(f"  {name:<{width}}  {suite.summary}" for name, suite in SUITES.items())
            print(f"usage: rxt eval SUITE [options]\n\n{lines}\n\nrxt eval SUITE --help tells more.")
            return 0
        case [word, *rest] if word in SUITES:
            return import_module(f"rxt.cli.suites.{SUITES[word].module}").run(rest)
        case [word, *_]:
            raise UserError(f"there is no suite {word!r}: the suites are {', '.join(SUITES)} (rxt eval --help)")
    raise AssertionError(argv)
