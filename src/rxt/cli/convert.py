"""``rxt convert``: a model in the other layout, or one model out of three parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.cli.new_folder import check_free, new_folder
from rxt.errors import UserError
from rxt.files import read_bytes, write_atomically
from rxt.folders import TOKENIZER, model_folder

if TYPE_CHECKING:
    from rxt.pretrained import ReactiveTransformer


@dataclass(frozen=True)
class Options:
    """Write a model in the other layout, or put one together from a decoder, an encoder and a memory attention.

    rxt convert SOURCE OUT; or rxt convert OUT --decoder … --encoder … --memory-attention …
    """

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="[SOURCE] OUT", help_behavior_hint="")]
    """SOURCE: a model folder, or owner/name on the Hugging Face Hub. OUT: a new or empty folder."""
    layout: Annotated[Literal["rxt", "published"] | None, arg(metavar="{rxt,published}", help_behavior_hint="")] = None
    """What OUT is written in; by default the layout that SOURCE is not in, and rxt for one put together."""
    revision: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """A branch, tag or commit of SOURCE on the Hub."""
    decoder: Annotated[str | None, arg(metavar="PART", help_behavior_hint="")] = None
    """A published decoder: a folder, or owner/name on the Hub."""
    encoder: Annotated[str | None, arg(metavar="PART", help_behavior_hint="")] = None
    """A published encoder."""
    memory_attention: Annotated[str | None, arg(metavar="PART", help_behavior_hint="")] = None
    """A published memory attention."""
    embedding: Annotated[
        Literal["decoder", "encoder"] | None, arg(metavar="{decoder,encoder}", help_behavior_hint="")
    ] = None
    """Whose embedding both use, where decoder and encoder bring different ones."""
    tokenizer: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """The tokenizer.json to go with the model, or a folder with one; by default the one beside SOURCE or a part."""


def run(argv: list[str]) -> int:
    """The verb ``convert``."""
    options = parse_arguments(Options, "rxt convert", argv)
    parts = {"--decoder": options.decoder, "--encoder": options.encoder, "--memory-attention": options.memory_attention}
    given = [name for name, part in parts.items() if part is not None]
    if not given:
        if len(options.paths) != 2:
            raise UserError(
                f"write rxt convert SOURCE OUT, found {len(options.paths)} of these two (rxt convert --help tells more)"
            )
        if options.embedding is not None:
            raise UserError("--embedding is for --decoder and --encoder; a whole model has one embedding")
    else:
        if len(given) < len(parts):
            raise UserError(f"a whole model needs {', '.join(parts)}; found only {', '.join(given)}")
        if len(options.paths) != 1:
            raise UserError(
                f"with parts write only OUT, found {len(options.paths)} folders (rxt convert --help tells more)"
            )
        if options.revision is not None:
            raise UserError("--revision is for SOURCE; parts are taken from their main branches")
    out = Path(options.paths[-1]).expanduser()
    check_free(out)
    folders = (
        [model_folder(part) for part in parts.values()]
        if given
        else [model_folder(options.paths[0], revision=options.revision)]
    )
    written = convert(options, folders, out)
    print(f"{out}: written in the {written} layout")
    return 0


def convert(options: Options, folders: list[Path], out: Path) -> str:
    """Load from one folder, or from three parts' folders, and write ``out``, whole or not at all; the layout it has."""
    from rxt.config import read_json
    from rxt.interop.published import CONFIG, is_published
    from rxt.pretrained import ReactiveTransformer

    tokenizer = options.tokenizer.expanduser() if options.tokenizer is not None else None
    if tokenizer is not None:
        tokenizer = tokenizer / TOKENIZER if tokenizer.is_dir() else tokenizer
    else:
        tokenizer = next((folder / TOKENIZER for folder in folders if (folder / TOKENIZER).is_file()), None)
    content = None if tokenizer is None else read_bytes(tokenizer)
    if len(folders) == 1:
        other = "rxt" if is_published(read_json(folders[0] / CONFIG)) else "published"
        model = ReactiveTransformer.from_pretrained(folders[0])
    else:
        other, model = "rxt", put_together(folders, options.embedding, tokenizer)
    layout = options.layout or other
    with new_folder(out) as folder:
        model.save_pretrained(folder, layout)
        if content is not None:
            write_atomically(folder / TOKENIZER, content)
    return layout


def put_together(
    folders: list[Path], embedding: Literal["decoder", "encoder"] | None, tokenizer: Path | None
) -> ReactiveTransformer:
    """Assemble decoder, encoder and memory attention; special tokens and template are the tokenizer's, where there is
    one."""
    from rxt.data.tokenizer import ChatTokenizer
    from rxt.pretrained import ReactiveTransformer

    decoder, encoder, memory_attention = folders
    model = ReactiveTransformer.from_components(decoder, encoder, memory_attention, embedding)
    if tokenizer is not None:
        tokens = ChatTokenizer.load(tokenizer).tokens
        model.config = replace(model.config, tokens=tokens, template="alpha" if tokens.think is None else "beta")
    return model
