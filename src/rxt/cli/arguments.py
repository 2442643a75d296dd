"""A verb's options as a typed dataclass: ``--help`` comes from its docstrings, a mistake becomes one line."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TypeVar

import tyro

from rxt.errors import UserError

Options = TypeVar("Options")

NO_TYPE = re.compile(r"no type matching .* Got errors: .*'None',\) - <class '\w+'>: (.+)")
"""tyro, of an option that may be left out: why its text is not None is of no interest, why it is no value is."""

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


def check_least(options: object, *least: tuple[str, float]) -> None:
    """Refuse an option that is below its least value; each by its field's name."""
    for name, value in least:
        found = getattr(options, name)
        if found < value:
            raise UserError(f"--{name.replace('_', '-')} {found}: must be at least {value}")


def check_one_model(model: str, preset: str) -> None:
    """Refuse a model and a preset together."""
    if model and preset:
        raise UserError(f"a model ({model}) or a preset ({preset}), not both")


def one_line(report: str) -> str:
    """The problem that tyro's report is about, and the option it would suggest.

    A report is a box of sections with a rule between them; its title stands in the frame, or is a section of its own
    where the output is not Unicode.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", report)  # without colours
    framed = "╭" in plain
    sections: list[list[str]] = [[]]
    for line in plain.splitlines():
        text = line.strip("│ ")
        if text and set(text) <= {"─", "-"}:
            sections.append([])
        elif text and not line.startswith(("╭", "╰")):
            sections[-1].append(text)
    problem, *others = sections if framed else sections[1:] or [[]]
    message = NO_TYPE.sub(r"\1", " ".join(problem)) or "the options cannot be read"
    for section in others:
        options = [text.split()[0] for text in section if text.startswith("--")]
        if section and section[0].startswith("Perhaps you meant") and options:
            message += f"; did you mean {options[0].rstrip(',')}?"
    return message[0].lower() + message[1:]
