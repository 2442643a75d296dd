"""Texts with labels: ``{"text", "label"}``, in any file that ``read_rows`` reads, CSV among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rxt.data.fields import BadRecord, kind_of, required
from rxt.data.layouts import Layout, Values
from rxt.data.readers import read_layouts
from rxt.data.records import OnBad, Records


@dataclass(frozen=True)
class LabelledText:
    """A text and its class."""

    text: str
    label: str


class Labelled(Layout[LabelledText]):
    """``{"text", "label"}``; a label may be a string, a whole number, or true or false."""

    kind = "text"
    keys = ("text", "label")

    def matches(self, values: Values) -> bool:
        return values.get("text") is not None and values.get("label") is not None

    def parse(self, values: Values) -> LabelledText:
        text, label = required(values, "text"), values.get("label")
        match label:
            case bool():
                return LabelledText(text, str(label).lower())
            case int():
                return LabelledText(text, str(label))
            case None | str():
                return LabelledText(text, required(values, "label").strip())
        raise BadRecord(f"label: must be a string or a whole number, found {kind_of(label)}")


def read_labelled(source: str | Path, on_bad: OnBad = "stop") -> Records[LabelledText]:
    """Texts with labels; see ``read_rows`` for what ``source`` may be.

    Raises:
        UserError: a bad record when ``on_bad`` is ``"stop"``; a file that cannot be read or holds no good record.
    """
    return read_layouts(source, on_bad, [Labelled()])
