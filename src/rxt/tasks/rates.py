"""Rates of a task's settings: fractions, by their names."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from rxt.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_rates(settings: DataclassInstance, of: str) -> None:
    """Refuse a field called ``…_rate`` that is no fraction; ``of``: what is set by it, at the beginning of the message.

    Raises:
        UserError: there is one.
    """
    for field in fields(settings):
        found = getattr(settings, field.name)
        if field.name.endswith("_rate") and not 0 <= found <= 1:
            raise UserError(f"{of}: {field.name} must be from 0 to 1, found {found}")
