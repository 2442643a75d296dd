"""``rxt eval reward``: how well the reward for answers ranks exact, paraphrased, copied and unrelated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.evaluation.ranking import Quadruple, Ranking


@dataclass(frozen=True)
class RewardOptions:
    """How well the reward for answers ranks four of them: exact > paraphrase > copy of the last turn > unrelated
    text."""

    file: tyro.conf.Positional[Path | None] = None
    """Quadruples of your own, one JSON object a line:
    {"previous": {"query", "answer"}, "query", "reference", "paraphrase", "unrelated", "exact"?, "copy"?, "wrong"?}.
    When not given, those that come with the package, and some of the generator of everyday conversations."""
    everyday: int = 30
    """Quadruples of the generator's test split, when there is no FILE."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return reward(parse_arguments(RewardOptions, "rxt eval reward", argv))


def reward(options: RewardOptions) -> int:
    """The rankings, beside those of plain BLEU."""
    from rxt.evaluation.ranking import plain_bleu, rank
    from rxt.evaluation.reward import DEFAULT, HIGHEST, score

    if options.json:
        check_writable(options.json)
    if options.everyday < 1:
        raise UserError(f"--everyday {options.everyday}: take at least one")
    groups = _groups(options)
    rankings: dict[str, tuple[Ranking, Ranking]] = {}
    with progress_bar() as progress:
        task = progress.add_task("ranking", total=len(groups))
        for name, quadruples in groups.items():
            rankings[name] = rank(score, quadruples), rank(plain_bleu, quadruples)
            progress.advance(task)
    console = Console()
    for name, (ours, plain) in rankings.items():
        console.print(_table(name, ours, plain))
    console.print(f"strict: all four in the right order. BLEU is that of sacrebleu, 0 to {HIGHEST:g}.", style="dim")
    if options.json:
        numbers = {
            name: {"reward": _numbers(ours), "bleu": _numbers(plain)} for name, (ours, plain) in rankings.items()
        }
        source = "bundled" if options.file is None else str(options.file)
        write_numbers(
            options.json, {"data": source, "seed": options.seed, "weights": asdict(DEFAULT), "groups": numbers}
        )
    return 0


def _groups(options: RewardOptions) -> Mapping[str, list[Quadruple]]:
    from rxt.evaluation.ranking import SHIPPED, everyday_quadruples, read_quadruples

    if options.file is not None:
        return {str(options.file): read_quadruples(options.file)}
    shipped = read_quadruples(SHIPPED)
    return {
        "written by hand, held out": shipped[1::2],
        "written by hand, the weights were chosen on these": shipped[0::2],
        "everyday conversations, test split": everyday_quadruples(options.everyday, options.seed),
    }


def _table(name: str, ours: Ranking, plain: Ranking) -> Table:
    table = Table(title=f"{name}: {len(ours.scores)} quadruples", title_justify="left")
    for column in ("", "reward", "95 % interval", "BLEU", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for kind, estimate in ours.means.items():
        other = plain.means[kind]
        table.add_row(
            f"mean of {kind}",
            f"{estimate.value:.2f}",
            f"{estimate.low:.2f}-{estimate.high:.2f}",
            f"{other.value:.2f}",
            f"{other.low:.2f}-{other.high:.2f}",
        )
    table.add_section()
    for (better, worse), share in ours.pairs.items():
        table.add_row(f"{better} > {worse}", f"{share:.3f}", "", f"{plain.pairs[better, worse]:.3f}", "")
    if ours.wrong:
        table.add_section()
        shown = [sum(wrong for _, wrong in ranking.wrong) / len(ranking.wrong) for ranking in (ours, plain)]
        table.add_row("mean of the reference with a wrong value", f"{shown[0]:.2f}", "", f"{shown[1]:.2f}", "")
        shown = [ranking.above_wrong for ranking in (ours, plain)]
        table.add_row("paraphrase > wrong value", f"{shown[0]:.3f}", "", f"{shown[1]:.3f}", "")
    table.add_section()
    table.add_row("pairwise", f"{ours.pairwise:.3f}", "", f"{plain.pairwise:.3f}", "")
    table.add_row("strict", f"{ours.strict:.3f}", "", f"{plain.strict:.3f}", "")
    return table


def _numbers(ranking: Ranking) -> dict[str, object]:
    return {
        "quadruples": len(ranking.scores),
        "strict": ranking.strict,
        "pairwise": ranking.pairwise,
        "pairs": {f"{better} > {worse}": share for (better, worse), share in ranking.pairs.items()},
        "paraphrase > wrong value": ranking.above_wrong if ranking.wrong else None,
        "means": {kind: asdict(estimate) for kind, estimate in ranking.means.items()},
    }
