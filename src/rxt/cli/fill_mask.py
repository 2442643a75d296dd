"""``rxt fill-mask``: words for the [MASK] in a text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rxt.cli.arguments import check_least, parse_arguments
from rxt.cli.chat import check_writable
from rxt.files import write_atomically


@dataclass(frozen=True)
class Options:
    """Guess the word that [MASK] hides in a text, with an encoder and its MLM head."""

    model: tyro.conf.Positional[str]
    """An encoder or a whole model: a folder, or owner/name on the Hugging Face Hub."""
    text: tyro.conf.Positional[str]
    """With [MASK] where a word is to be guessed, once or more often."""
    mlm_head: Annotated[str | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """The MLM head: a folder or owner/name; by default the folder mlm_head inside MODEL."""
    tokenizer: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """A tokenizer.json, or a folder with one; by default the one beside MODEL's weights."""
    top_k: int = 5
    """How many words."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write them there too: [{"token", "probability"}, …], most probable first; for several masks a list of these."""


def run(argv: list[str]) -> int:
    """The verb ``fill-mask``."""
    options = parse_arguments(Options, "rxt fill-mask", argv)
    check_least(options, ("top_k", 1))
    if options.json is not None:
        check_writable(options.json)
    from rxt.understanding.fill_mask import FillMask

    found = FillMask.from_pretrained(options.model, options.mlm_head, options.tokenizer)(options.text, options.top_k)
    for number, guesses in enumerate(found):
        if number:
            print()
        for guess in guesses:
            print(f"{guess.probability:.4f}  {guess.token}")
    if options.json is not None:
        values = [[asdict(guess) for guess in guesses] for guesses in found]
        content = values[0] if len(values) == 1 else values
        write_atomically(options.json, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return 0
