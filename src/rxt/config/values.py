"""Plain JSON values: a file of them, and how they become a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from rxt.config.feed_forward import FeedForwardKind
from rxt.errors import UserError, in_file

T = TypeVar("T")


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def parse(adapter: TypeAdapter[T], values: Any, source: str) -> T:
    """Validate plain values against a typed dataclass; the first problem becomes one line that names the field."""
    try:
        with in_file(source):
            return adapter.validate_python(values)
    except ValidationError as error:
        raise UserError(f"{source}: {first_problem(error)}") from None


def first_problem(error: ValidationError, *above: str) -> str:
    """The first problem in one line that names the field; ``above`` are the fields that it lies in."""
    problem = error.errors()[0]
    # The names of a union's kinds stand in pydantic's location, but are no keys of ours.
    keys = [*above, *(str(part) for part in problem["loc"] if part not in get_args(FeedForwardKind))]
    where = f"{'.'.join(keys)}: " if keys else ""
    found = "" if problem["type"] == "missing" else f", found {problem['input']!r:.60}"
    return f"{where}{problem['msg'].lower()}{found}"
