"""``rxt average``: the mean of several models' weights.

Models that were trained on from the same one lie in one valley, and the middle of it is often better on data that none
of them has seen than any of them (model soups, Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.cli.new_folder import check_free, new_folder
from rxt.errors import UserError
from rxt.files import read_bytes, write_atomically
from rxt.folders import TOKENIZER, model_folder

if TYPE_CHECKING:
    from rxt.config import RxTConfig
    from rxt.pretrained import ReactiveTransformer


@dataclass(frozen=True)
class Options:
    """Write the weighted mean of models of the same configuration and tokenizer: rxt average OUT MODEL MODEL …

    Useful for models that were trained on from the same one; the mean of unrelated models means nothing.
    """

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="OUT MODEL MODEL …", help_behavior_hint="")]
    """OUT: a new or empty folder. MODEL: a model's folder, or owner/name on the Hugging Face Hub."""
    weights: Annotated[tuple[float, ...], arg(metavar="W W …", help_behavior_hint="")] = ()
    """How much each model counts, in their order; all the same by default."""


def run(argv: list[str]) -> int:
    """The verb ``average``."""
    options = parse_arguments(Options, "rxt average", argv)
    if len(options.paths) < 3:
        raise UserError(
            f"write rxt average OUT MODEL MODEL …, found {len(options.paths)} of these (rxt average --help tells more)"
        )
    out, sources = Path(options.paths[0]).expanduser(), options.paths[1:]
    weights = options.weights or (1.0,) * len(sources)
    if len(weights) != len(sources):
        raise UserError(f"--weights: {len(sources)} models need as many, found {len(weights)}")
    if not all(0 < weight < math.inf for weight in weights):
        raise UserError(f"--weights: must be positive, found {min(weights):g}")
    check_free(out)
    folders = [model_folder(source) for source in sources]
    model = average(folders, weights)
    base = model.config.base
    tokenizer = _common_tokenizer(folders, left_to_base=base is not None and not base.included)
    with new_folder(out) as folder:
        model.save_pretrained(folder)
        if tokenizer is not None:
            write_atomically(folder / TOKENIZER, tokenizer)
    print(f"{out}: the mean of {len(folders)} models")
    return 0


def _common_tokenizer(folders: list[Path], left_to_base: bool) -> bytes | None:
    """The tokenizer file of all models, or of those that have one where the others may leave it to their base."""
    found = [(folder, read_bytes(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None) for folder in folders]
    counted = [(folder, content) for folder, content in found if content is not None or not left_to_base]
    for folder, content in counted:
        if content != counted[0][1]:
            raise UserError(
                f"{folder}: has another tokenizer than {counted[0][0]}; only models of the same tokens can be averaged"
            )
    return counted[0][1] if counted else None


def average(folders: list[Path], weights: tuple[float, ...]) -> ReactiveTransformer:
    """Σ wᵢ·θᵢ / Σ wᵢ over the models in ``folders``; the longest training that one of them has seen is the mean's."""
    import torch

    from rxt.pretrained import ReactiveTransformer

    mean = ReactiveTransformer.from_pretrained(folders[0])
    state = {name: tensor.double() * weights[0] for name, tensor in mean.state_dict().items()}
    for folder, weight in zip(folders[1:], weights[1:], strict=True):
        other = ReactiveTransformer.from_pretrained(folder)
        turns = max(mean.config.trained_turns or 0, other.config.trained_turns or 0) or None
        mean.config = replace(mean.config, trained_turns=turns)
        if _what_counts(other.config) != _what_counts(mean.config):
            raise UserError(
                f"{folder}: another configuration than {folders[0]}; only models of the same one can be averaged"
            )
        for name, tensor in other.state_dict().items():
            state[name] += tensor.double() * weight
    total = math.fsum(weights)
    with torch.no_grad():
        for name, tensor in mean.state_dict().items():
            tensor.copy_(state[name] / total)
    return mean


def _what_counts(config: RxTConfig) -> RxTConfig:
    """A configuration without where its base was found, and how long it was trained."""
    base = None if config.base is None else replace(config.base, name="", revision=None)
    return replace(config, trained_turns=None, base=base)
