"""Where rows come from: JSON Lines, one JSON array or object, CSV or plain text (gzipped or not), Parquet; files,
folders, or the hub.

What a file is, its first bytes say, and its name only where it is plain text (``.txt``) or CSV (``.csv``). A row is
plain JSON values and the place it was read at; what the values mean is for ``layouts`` to say. Trouble with one row is
a ``BadRow``; trouble with a whole file is a ``UserError``.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import IO, Any, cast

from rxt.data.prepared.index import is_prepared
from rxt.errors import UserError

DATA_EXTRA = 'pip install "reactive-transformers[data]"'
HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<subset>[\w.-]+)(?=:))?(:(?P<split>[\w.-]+))?")
TEXT_SUFFIXES = (".txt", ".txt.gz")
"""Plain text has no sign of its own, so here the name says what a file is."""
CSV_SUFFIXES = (".csv", ".csv.gz")
"""Nor has CSV: a first line with the names of its columns, then a row a record, all values strings."""
END_OF_TEXT = b"<|endoftext|>"
DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".parquet")
FILE_SUFFIXES = (*DATA_SUFFIXES, ".json", ".json.gz", *TEXT_SUFFIXES)
"""What is read of a folder."""
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
HUB_TIMEOUT = 20.0
"""Seconds to wait for the hub's list of files."""
SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test", "eval")
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


def read_rows(source: str | Path) -> Iterator[Row | BadRow]:
    """Every row of ``source``: a file, a folder or a glob of files, or a hub data set.

    Data sets are written ``org/name``, ``org/name:split`` or ``org/name:subset:split``.

    Raises:
        UserError: nothing is there, it cannot be read or unpacked, or the hub cannot be asked.
    """
    for file in source_files(source):
        yield from file_rows(file)


def source_files(source: str | Path) -> list[DataFile]:
    """The files of a source, in the order in which they are read; those of the hub are here then.

    Raises:
        UserError: as ``read_rows``.
    """
    path = Path(source)
    if is_prepared(path):
        raise UserError(f"{source}: is data that is prepared already; rxt train takes it, rxt data inspect shows it")
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name.endswith(FILE_SUFFIXES)]
        if not files:
            raise UserError(f"{source}: is a folder that holds no JSON Lines, JSON, Parquet or text file")
        return [DataFile(str(file), file) for file in files]
    if path.exists():
        return [DataFile(str(source), path)]
    if any(sign in str(source) for sign in "*?["):
        names = [name for name in sorted(glob(str(source), recursive=True)) if Path(name).is_file()]
        if not names:
            raise UserError(f"{source}: no file has such a name")
        return [DataFile(name, Path(name)) for name in names]
    hub_id = HUB_ID.fullmatch(str(source))
    if hub_id is None or str(source).endswith((*FILE_SUFFIXES, *CSV_SUFFIXES, ".gz")):
        raise UserError(f"{source}: no such file")
    repo = hub_id["repo"]
    found = _download(str(source), repo, hub_id["subset"], hub_id["split"] or "train")
    return [DataFile(f"{repo}/{name}", local) for name, local in found]


def file_rows(file: DataFile) -> Iterator[Row | BadRow]:
    """Every row of one file; errors as in ``read_rows``."""
    path, name = file.path, file.name
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror})") from None
    if magic == PARQUET_MAGIC:
        yield from _parquet_rows(path, name)
        return

    def opened() -> IO[bytes]:
        return cast(IO[bytes], gzip.open(path, "rb")) if magic.startswith(GZIP_MAGIC) else path.open("rb")

    try:
        if name.endswith(TEXT_SUFFIXES):
            yield from _text_rows(opened, name)
            return
        if name.endswith(CSV_SUFFIXES):
            yield from _csv_rows(opened, name)
            return
        whole = _one_value(opened) if _is_no_lines(opened) else None
        if isinstance(whole, list):
            yield from (Row(f"{name}[{index}]", value) for index, value in enumerate(whole))
            return
        if isinstance(whole, dict):
            yield Row(name, whole)
            return
        with opened() as stream:
            yield from _json_rows(stream, name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{name}: the gzip file is cut off or damaged ({error}); get it again") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror})") from None


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


def _download(source: str, repo: str, subset: str | None, split: str) -> Iterator[tuple[str, Path]]:
    """(name in the repository, local file) of every data file of one split."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        listed = HfApi().dataset_info(repo, timeout=HUB_TIMEOUT).siblings or []
        names = choose_hub_files([file.rfilename for file in listed], source, subset, split)
        files = [(name, Path(hf_hub_download(repo, name, repo_type="dataset"))) for name in names]
    except UserError:
        raise
    except Exception as error:  # the hub client raises its own errors and those of its HTTP library, by version
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UserError(f"{source}: no such file here, and the hub gave no data set of that name ({reason})") from None
    yield from files


def choose_hub_files(names: list[str], source: str, subset: str | None, split: str) -> list[str]:
    """The data files of one split among a repository's files: those under the subset's folder whose name holds the
    split.

    Where no name tells of any split, every file is training data, as on the hub itself.

    Raises:
        UserError: there are none, or they lie in several subsets and none was asked for.
    """
    files = sorted(name for name in names if name.endswith(DATA_SUFFIXES))
    inside = [name for name in files if subset is None or name.startswith(f"{subset}/")]
    chosen = [name for name in inside if split in _words(name)]
    if split == "train" and not any(known in _words(name) for name in inside for known in SPLIT_NAMES):
        chosen = inside
    if not chosen:
        wanted = f"split {split!r}" + (f" of subset {subset!r}" if subset else "")
        held = ", ".join(files[:6]) or "no JSON Lines or Parquet files"
        raise UserError(f"{source}: no data file of {wanted}; the data set holds {held}")
    folders = sorted({name.rpartition("/")[0] for name in chosen})
    if len(folders) > 1 and subset is None:
        raise UserError(f"{source}: several subsets ({', '.join(folders[:6])}); name one as org/name:subset:{split}")
    return chosen


def _words(name: str) -> list[str]:
    return re.split(r"[/_.-]", name)
