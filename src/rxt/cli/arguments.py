"""A verb's options as a typed dataclass: ``--help`` comes from its docstrings, a mistake becomes one line."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TypeVar

import tyro

from rxt.errors import UserError

Options = TypeVar("Options")

BOX = "╭╮╰╯│ "
CONFIG = (tyro.conf.FlagCreatePairsOff,)


def parse_arguments(options: type[Options], prog: str, argv: list[str]) -> Options:
    """Fill a dataclass from the command line. ``--help`` prints and exits; a mistake raises ``UserError``."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(options, prog=prog, args=argv, config=CONFIG)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise UserError(f"{one_line(errors.getvalue())} ({prog} --help lists the options)") from None


def one_line(report: str) -> str:
    """The problem that tyro's boxed report is about, and the option it would suggest."""
    lines = [line.strip(BOX) for line in re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines() if not line.startswith(("╭", "╰"))]
    sections: list[list[str]] = [[]]
    for line in lines:
        if set(line) == {"─"}:
            sections.append([])
        elif line:
            sections[-1].append(line)
    problem = " ".join(sections[0]) or "the options cannot be read"
    for section in sections[1:]:
        if section and section[0].startswith("Perhaps you meant"):
            suggestions = [line.split()[0].split("/")[0].rstrip(",") for line in section if line.startswith("--")]
            if suggestions:
                problem += f"; did you mean {suggestions[0]}?"
    return problem[0].lower() + problem[1:]
