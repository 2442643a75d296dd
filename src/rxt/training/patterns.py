"""Which parameters are meant, by patterns of their names: ``("decoder", "!decoder.embedding", "*.norm*")``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

import torch
from torch import nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.model.reactive import ReactiveTransformer

EXCEPT = "!"
ALL_PARTS = ("decoder", "memory_attention", "encoder")


def chosen_names(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The names that the patterns choose, each pattern adding to those before it, or with ``!`` taking away from them.

    A pattern is a name with wildcards (``*``, ``?``, ``[...]``). One that names a module stands for all in it.

    Raises:
        UserError: a pattern matches no name.
    """
    names, chosen = list(names), set[str]()
    for pattern in patterns:
        wanted = pattern.removeprefix(EXCEPT)
        found = {name for name in names if fnmatchcase(name, wanted) or fnmatchcase(name, f"{wanted}.*")}
        if not found:
            raise UserError(f"{pattern!r} names no parameter; names look like {names[0]} or {names[-1]}")
        chosen = chosen - found if pattern.startswith(EXCEPT) else chosen | found
    return chosen


def learn_only(module: nn.Module, patterns: Sequence[str]) -> None:
    """Let only the parameters of ``module`` learn that the patterns choose.

    A parameter that several parts share, as decoder and encoder share the embedding, learns where every one of its
    names is chosen.
    """
    named = list(module.named_parameters(remove_duplicate=False))
    chosen = chosen_names([name for name, _ in named], patterns)
    frozen = {parameter for name, parameter in named if name not in chosen}
    for _, parameter in named:
        parameter.requires_grad_(parameter not in frozen)


def check_patterns(model: RxTConfig, patterns: Sequence[str], field: str) -> None:
    """Refuse patterns of which one names nothing in such a model, before anything is trained."""
    if set(patterns) <= {*ALL_PARTS}:
        return
    try:
        chosen_names(_names(model), patterns)
    except UserError as error:
        raise UserError(f"recipe: {field}: {error}") from None


@lru_cache(maxsize=8)
def _names(model: RxTConfig) -> tuple[str, ...]:
    with torch.device("meta"):
        return tuple(name for name, _ in ReactiveTransformer(model).named_parameters(remove_duplicate=False))
