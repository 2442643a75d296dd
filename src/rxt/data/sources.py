"""Where rows come from: files, folders and globs of files, or a data set of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

from rxt.data.file_rows import CSV_SUFFIX, TEXT_SUFFIX, BadRow, DataFile, Row, file_rows
from rxt.data.hub_stream import PREFIX, HubStream
from rxt.data.prepared.index import is_prepared
from rxt.data.unpacking import PACKED_SUFFIXES, ZIP_SUFFIX
from rxt.errors import UserError

HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<subset>[\w.-]+)(?=:))?(:(?P<split>[\w.-]+))?")
PACKABLE = (".jsonl", ".ndjson", ".json", TEXT_SUFFIX, CSV_SUFFIX)
FILE_SUFFIXES = (*(f"{bare}{packed}" for bare in PACKABLE for packed in ("", *PACKED_SUFFIXES)), ".parquet", ZIP_SUFFIX)
"""What is read of a folder."""
DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".parquet")
"""What is read of a data set of the hub."""
HUB_TIMEOUT = 20.0
"""Seconds to wait for the hub's list of files."""
SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test", "eval")


def read_rows(source: str | Path) -> Iterator[Row | BadRow]:
    """Every row of ``source``: a file, a folder or a glob of files, or a hub data set.

    Data sets are written ``org/name``, ``org/name:split`` or ``org/name:subset:split``; with ``stream:`` before that no
    file is fetched, but row after row.

    Raises:
        UserError: nothing is there, it cannot be read or unpacked, or the hub cannot be asked.
    """
    for file in source_files(source):
        yield from file_rows(file)


def source_files(source: str | Path) -> Sequence[DataFile | HubStream]:
    """The files of a source, in the order in which they are read; those of the hub are here then.

    Raises:
        UserError: as ``read_rows``.
    """
    if str(source).startswith(PREFIX):
        return [_stream(str(source))]
    path = Path(source)
    if is_prepared(path):
        raise UserError(f"{source}: is data that is prepared already; rxt train takes it, rxt data inspect shows it")
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name.endswith(FILE_SUFFIXES)]
        if not files:
            raise UserError(f"{source}: is a folder that holds no JSON Lines, JSON, Parquet, CSV or text file")
        return [DataFile(str(file), file) for file in files]
    if path.exists():
        if not path.is_file():
            raise UserError(
                f"{source}: is a pipe, which can be read once; data is read more than once (to tell what it is, and "
                "when a run goes on): write it into a file first"
            )
        return [DataFile(str(source), path)]
    if any(sign in str(source) for sign in "*?["):
        names = [name for name in sorted(glob(str(source), recursive=True)) if Path(name).is_file()]
        if not names:
            raise UserError(f"{source}: no file has such a name")
        return [DataFile(name, Path(name)) for name in names]
    hub_id = HUB_ID.fullmatch(str(source))
    if hub_id is None or str(source).endswith((*FILE_SUFFIXES, *PACKED_SUFFIXES)):
        raise UserError(f"{source}: no such file")
    repo = hub_id["repo"]
    found = _download(str(source), repo, hub_id["subset"], hub_id["split"] or "train")
    return [DataFile(f"{repo}/{name}", local) for name, local in found]


def _stream(source: str) -> HubStream:
    named = HUB_ID.fullmatch(source.removeprefix(PREFIX))
    if named is None:
        raise UserError(f"{source}: write {PREFIX}org/name:subset:split")
    return HubStream.of(source, named["repo"], named["subset"], named["split"] or "train", HUB_TIMEOUT)


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
