"""``rxt memory``: memories as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.threads import choose_threads
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.data.template import Template

USAGE = """usage: rxt memory build FILE … --out knowledge.mem [--model MODEL]

  build  read texts or conversations into fragments that conversations begin with (rxt memory build --help)"""


@dataclass(frozen=True)
class BuildOptions:
    """Read texts or conversations into a file of knowledge: fragments of memory that conversations may begin with
    (rxt chat --knowledge, rxt serve --knowledge), and that none of them changes."""

    files: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE …", help_behavior_hint="")]
    """Texts or conversations, in any layout that rxt train reads."""
    out: Annotated[Path, arg(metavar="FILE", help_behavior_hint="")]
    """The file to write."""
    model: Annotated[str | None, arg(metavar="MODEL", help_behavior_hint="")] = None
    """A model with a pool: a folder, or owner/name on the Hugging Face Hub; without it the bundled model."""
    base: Annotated[str | None, arg(metavar="BASE", help_behavior_hint="")] = None
    """Where the pre-trained model is that MODEL is the memory of."""
    seed: int = 0
    """Of the fresh memory that reading begins with."""


def run(argv: list[str]) -> int:
    """The verb ``memory``."""
    match argv:
        case [] | ["-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["build", *rest]:
            return build(parse_arguments(BuildOptions, "rxt memory build", rest))
        case [other, *_]:
            raise UserError(f"memory {other}: there is no such command, only build (rxt memory --help)")
    raise AssertionError(argv)


def build(options: BuildOptions) -> int:
    """Read the files, one after another, and write what was made of them."""
    if not options.files:
        raise UserError("rxt memory build: name a FILE to read")
    check_writable(options.out)
    import torch

    from rxt.data.template import Template
    from rxt.generation.knowledge import knowledge_of
    from rxt.model.parameters import parameter_counts
    from rxt.pretrained import load_model

    model, tokenizer = load_model(options.model, base=options.base)
    torch.set_num_threads(choose_threads(parameter_counts(model.config).decoder_active))
    template = Template.of_model(model.config, tokenizer)
    read = [ids for file in options.files for ids in interactions_of(template, file)]
    pool = knowledge_of(model, read, options.seed)
    pool.save(options.out)
    print(f"{options.out}: {len(pool.fragments)} fragments of {len(read)} interactions, {pool.nbytes:,} bytes")
    return 0


def interactions_of(template: Template, file: str) -> Iterator[list[int]]:
    """What a file says, as tokens, interaction by interaction."""
    from rxt.data.readers import detect_format, read_as_conversations, read_texts
    from rxt.generation.knowledge import interactions_of_conversation, interactions_of_text

    if detect_format(file) == "text":
        for text in read_texts(file):
            yield from interactions_of_text(template, text.text)
    else:
        for conversation in read_as_conversations(file):
            yield from interactions_of_conversation(template, conversation)
