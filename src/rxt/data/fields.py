"""Checked fields of a record: a problem is a :class:`BadRecord` that names the field; the reader adds file and line."""

from __future__ import annotations

from typing import Any


class BadRecord(Exception):
    """Field and problem of a bad record: ``interactions[2].answer: missing``."""


def only(values: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key, value in values.items():
        if key not in known and value is not None:
            raise BadRecord(f"{where}{key}: unknown key; known are {', '.join(known)}")


def required(values: dict[str, Any], key: str, where: str = "", may_be_empty: bool = False) -> str:
    value = values.get(key)
    if value is None:
        raise BadRecord(f"{where}{key}: missing")
    value = string(value, f"{where}{key}")
    if not may_be_empty and not value.strip():
        raise BadRecord(f"{where}{key}: empty")
    return value


def optional(values: dict[str, Any], key: str, where: str = "") -> str | None:
    """An optional part; a blank one is as good as none."""
    value = values.get(key)
    return None if value is None or not string(value, f"{where}{key}").strip() else value


def string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"{where}: must be a string, found {kind_of(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadRecord(f"{where}: holds half of a surrogate pair, which is not Unicode text")
    return value


def as_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(
            f"{where}: must be an object, found {kind_of(value)}"
            if where
            else f"must be an object with keys, found {kind_of(value)}"
        )
    return value


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)
