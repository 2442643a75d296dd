"""What every part of a configuration is checked with."""

from __future__ import annotations

from pydantic import ConfigDict

from rxt.errors import CONFIGURATION, UserError

STRICT = ConfigDict(extra="forbid")
"""Of every configuration: a key that is not known is an error."""


def require(condition: bool, field_name: str, problem: str) -> None:
    """Refuse a configuration whose ``field_name`` has the ``problem``, unless ``condition`` holds."""
    if not condition:
        raise UserError(f"{CONFIGURATION}{field_name} {problem}")


def check_eps(owner: str, eps: float | None) -> None:
    """The ε of a norm, where it is given, is a small positive number."""
    require(eps is None or 0 < eps < 1, f"{owner}.norm_eps", f"must lie between 0 and 1, found {eps}")


def at_least_one(owner: str, **values: int) -> None:
    """Every one of the fields ``values`` of ``owner`` must be 1 or more."""
    for name, value in values.items():
        require(value >= 1, f"{owner}.{name}", f"must be at least 1, found {value}")
