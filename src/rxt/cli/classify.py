"""``rxt classify``: the classes of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.streams import standard_input
from rxt.errors import UserError
from rxt.files import write_atomically


@dataclass(frozen=True)
class Options:
    """Say of which class texts are, one line a text: its label and how probable that is."""

    model: tyro.conf.Positional[str]
    """A classifier, as rxt train classify makes it: a folder, or owner/name on the Hugging Face Hub."""
    texts: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TEXT", help_behavior_hint="")] = ()
    """The texts; without any, standard input holds one a line."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write them there too: [{"text", "label", "probability", "probabilities"}, …]."""


def run(argv: list[str]) -> int:
    """The verb ``classify``."""
    options = parse_arguments(Options, "rxt classify", argv)
    if options.json is not None:
        check_writable(options.json)
    source = options.texts or lines(standard_input("texts"))
    from rxt.understanding.text_classifier import load_classifier

    classifier = load_classifier(options.model)
    texts = list(source)
    found = classifier(texts)
    for each in found:
        print(f"{each.probability:.4f}  {each.label}")
    if options.json is not None:
        values = [{"text": text, **asdict(each)} for text, each in zip(texts, found, strict=True)]
        write_atomically(options.json, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
    return 0


def lines(source: Iterable[bytes]) -> Iterable[str]:
    """The texts of standard input; a blank line is an error, for every line in has one out."""
    for number, line in enumerate(source, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(f"standard input line {number}: not UTF-8 (byte {error.start + 1} of the line)") from None
        if not text.strip():
            raise UserError(f"standard input line {number}: empty text")
        yield text
