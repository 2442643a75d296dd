"""What is in a file: JSON Lines, one JSON array or object, CSV, plain text, or Parquet, packed or not.

What a file is, its first bytes say, and its name only where it is plain text (``.txt``) or CSV (``.csv``). A row is
plain JSON values and the place it was read at; what the values mean is for ``layouts`` to say. Trouble with one row is
a ``BadRow``; trouble with a whole file is a ``UserError``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rxt.data.hub_stream import HubStream
from rxt.data.unpacking import Unpacked, unpacked
from rxt.errors import UserError

DATA_EXTRA = 'pip install "reactive-transformers[data]"'
TEXT_SUFFIX = ".txt"
"""Plain text has no sign of its own, so here the name says what a file is."""
CSV_SUFFIX = ".csv"
"""Nor has CSV: a first line with the names of its columns, then a row a record, all values strings."""
END_OF_TEXT = b"<|endoftext|>"
PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
ONE_A_LINE = "write one JSON object a line (jq -c . FILE does), or one array of them"


@dataclass(frozen=True)
class Row:
    """One record as plain JSON values, with the place it was read at (``chat.jsonl:17``)."""

    place: str
    value: Any


@dataclass(frozen=True)
class BadRow:
    """A line that holds no JSON value, and why."""

    place: str
    problem: str


@dataclass(frozen=True)
class DataFile:
    """A file to read, and what it is called in messages."""

    name: str
    path: Path


def file_rows(file: DataFile | HubStream) -> Iterator[Row | BadRow]:
    """Every row of one file, of an archive those of every file in it, or of a stream.

    Raises:
        UserError: it cannot be read or unpacked.
    """
    if isinstance(file, HubStream):
        yield from (Row(f"{file.name}[{index}]", value) for index, value in enumerate(file.values()))
        return
    for inside in unpacked(file.path, file.name):
        with inside.reading():
            with inside.open() as stream:
                magic = stream.read(4)
            if magic != PARQUET_MAGIC:
                yield from _rows(inside)
            elif inside.packing is None:
                yield from _parquet_rows(file.path, inside.name)
            else:
                raise UserError(f"{inside.name}: a packed Parquet file cannot be read; unpack it")


def _rows(file: Unpacked) -> Iterator[Row | BadRow]:
    if file.bare_name.endswith(TEXT_SUFFIX):
        yield from _text_rows(file.open, file.name)
        return
    if file.bare_name.endswith(CSV_SUFFIX):
        yield from _csv_rows(file.open, file.name)
        return
    whole = _one_value(file.open) if _is_no_lines(file.open) else None
    if isinstance(whole, list):
        yield from (Row(f"{file.name}[{index}]", value) for index, value in enumerate(whole))
    elif isinstance(whole, dict):
        yield Row(file.name, whole)
    else:
        with file.open() as stream:
            yield from _json_rows(stream, file.name)


def _is_no_lines(opened: Callable[[], IO[bytes]]) -> bool:
    """Whether a file begins as one JSON value does: with a list, or with a line that the next one goes on from."""
    with opened() as stream:
        begin = stream.read(1024).removeprefix(BOM).lstrip()
    if begin.startswith(b"["):
        return True
    if not begin.startswith(b"{"):
        return False
    with opened() as stream:
        first = next((line for line in (line.removeprefix(BOM).strip() for line in stream) if line), b"")
    try:
        json.loads(first)
    except json.JSONDecodeError as error:
        return goes_on(error)
    except (ValueError, RecursionError):
        return False
    return False


def goes_on(error: json.JSONDecodeError) -> bool:
    """Whether all that is wrong with a line is that it ends: its value goes on in the next one."""
    return error.pos >= len(error.doc.rstrip())


def _one_value(opened: Callable[[], IO[bytes]]) -> Any:
    """What a file holds that is one JSON value; None where it is not, but lines of which each stands alone."""
    with opened() as stream:
        try:
            return json.loads(stream.read().removeprefix(BOM))
        except (ValueError, RecursionError):
            return None


def _text_rows(opened: Callable[[], IO[bytes]], name: str) -> Iterator[Row | BadRow]:
    """The documents of a text file: between the lines that hold ``END_OF_TEXT``, or else between blank lines."""
    with opened() as stream:
        marked = any(END_OF_TEXT in line for line in stream)
    begun, pieces = 1, list[str]()
    with opened() as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = (line.removeprefix(BOM) if number == 1 else line).decode("utf-8")
            except UnicodeDecodeError as error:
                yield BadRow(f"{name}:{number}", f"not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})")
                continue
            parts = text.split(END_OF_TEXT.decode()) if marked else [text] if text.strip() else ["", ""]
            for index, part in enumerate(parts):
                if index and pieces:  # the part before this one ended a document
                    yield Row(f"{name}:{begun}", {"text": "".join(pieces).strip()})
                    pieces = []
                if pieces:
                    pieces.append(part)
                elif part.strip():
                    begun, pieces = number, [part]
    if pieces:
        yield Row(f"{name}:{begun}", {"text": "".join(pieces).strip()})


def _csv_rows(opened: Callable[[], IO[bytes]], name: str) -> Iterator[Row | BadRow]:
    """The records of a CSV file; the place of one is the line that it ends in."""
    with opened() as stream:
        reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
        names: list[str] | None = None
        try:
            for values in reader:
                place = f"{name}:{reader.line_num}"
                if names is None:
                    names = [value.strip() for value in values]
                elif values and len(values) != len(names):
                    yield BadRow(place, f"holds {len(values)} values, but the first line names {len(names)} columns")
                elif values:
                    yield Row(place, dict(zip(names, values, strict=True)))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}: not UTF-8 (byte 0x{error.object[error.start]:02x}); write the file anew"
            ) from None
        except csv.Error as error:
            raise UserError(f"{name}:{reader.line_num}: not CSV ({error})") from None


def _json_rows(stream: Iterable[bytes], name: str) -> Iterator[Row | BadRow]:
    for number, line in enumerate(stream, start=1):
        place = f"{name}:{number}"
        line = line.removeprefix(BOM) if number == 1 else line
        if not line.strip():
            continue
        try:
            yield Row(place, json.loads(line.decode("utf-8")))
        except UnicodeDecodeError as error:
            yield BadRow(place, f"not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})")
        except json.JSONDecodeError as error:
            yield BadRow(
                place,
                f"not JSON: the line ends within a value, and the file as a whole is no JSON either; {ONE_A_LINE}"
                if goes_on(error)
                else f"not JSON ({error.msg} at column {error.colno}); a file holds one JSON object a line",
            )
        except (ValueError, RecursionError) as error:
            yield BadRow(place, f"not JSON ({error})")


def _parquet_rows(path: Path, name: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{name}: reading Parquet needs pyarrow: {DATA_EXTRA}") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for value in batch.to_pylist():
                    number += 1
                    yield Row(f"{name}:{number}", value)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{name}: the Parquet file is cut off or damaged ({str(error).splitlines()[0]}); get it again"
        ) from None
