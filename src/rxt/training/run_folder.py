"""A run's folder: held by one process at a time, claimed by one run for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter

from rxt.config import STRICT, parse, read_json
from rxt.data.fitting import Lengths
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.folders import TOKENIZER
from rxt.training.config import RunConfig

RUN, DATA, STAGE, ENCODER, CURVES = "run.json", "data.json", "stage.json", "encoder", "curves.png"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the run's folder: one process at a time."""
    make_folder(out)
    lock = FileLock(out / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{out}: another process is training there; wait for it or choose another --out") from None
    except OSError as error:
        raise UserError(f"{out}: the folder cannot be written to ({error.strerror}); choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def check_claim(out: Path, run: RunConfig) -> None:
    """Refuse a folder that holds another run, or other files."""
    found = found_run(out)
    if found is None:
        return
    if "stages" not in found:
        raise UserError(f"{out}: holds a run of an older version, which cannot go on here; choose another --out")
    check_same(out, by_kind(found), by_kind(TypeAdapter(RunConfig).dump_python(run, mode="json")))


@dataclass(frozen=True)
class DataNote:
    """What a run notes of its data when it begins, so that nothing has to be tokenized again when it goes on."""

    digests: dict[str, str]
    """Of what was read, by file or folder."""
    lengths: Lengths
    """Of the interactions."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def check(self, out: Path, digests: dict[str, str]) -> None:
        """Refuse data that is not what the run began with: it would go on with other batches than it says."""
        for name, digest in digests.items():
            if self.digests.get(name) != digest:
                raise UserError(
                    f"{name}: has changed since the run in {out} began; bring it back as it was, or choose another "
                    "--out"
                )


NOTES = TypeAdapter(DataNote)


def noted_data(out: Path) -> DataNote | None:
    """What the run noted of its data; None where it has not begun."""
    path = out / DATA
    return parse(NOTES, read_json(path), str(path)) if path.exists() else None


def found_run(out: Path) -> dict[str, Any] | None:
    """What ``run.json`` says of the run that a folder holds; None in an empty one. Other files are refused."""
    path = out / RUN
    if path.exists():
        return read_json(path)
    others = sorted(child.name for child in out.iterdir() if not child.name.startswith("."))
    if others:
        raise UserError(f"{out}: the folder is not empty (it holds {others[0]}) and holds no run; choose another --out")
    return None


def check_same(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on with a run that was started with other options."""
    different = first_difference(found, wanted)
    if different:
        raise UserError(
            f"{out}: holds another run: {different}; choose another --out, or the options it was started with"
        )


def claim(out: Path, run: RunConfig, tokenizer: ChatTokenizer, data: DataNote) -> None:
    """Make the folder this run's for good: its configuration, the note of its data, then stage 0. Data that cannot
    be used never gets here."""
    if not (out / RUN).exists():
        write_json(out / RUN, TypeAdapter(RunConfig).dump_python(run, mode="json"))
    if not (out / DATA).exists():
        write_json(out / DATA, NOTES.dump_python(data, mode="json"))
    if not (out / TOKENIZER).exists():
        tokenizer.save(out / TOKENIZER)


def by_kind(values: dict[str, Any]) -> dict[str, Any]:
    """A run's plain values with its stages under their kinds, as ``--set`` addresses them."""
    stages = values["stages"]
    return {**values, "stages": [stage["kind"] for stage in stages], **{stage["kind"]: stage for stage in stages}}


def first_difference(found: object, wanted: object, where: str = "") -> str | None:
    """The first field in which two JSON values differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            different = first_difference(found.get(key), wanted.get(key), f"{where}.{key}" if where else key)
            if different:
                return different
        return None
    return None if found == wanted else f"{where} was {found!r:.80}, now {wanted!r:.80}"


def write_json(path: Path, values: object) -> None:
    """Write JSON whole or not at all."""
    make_folder(path.parent)
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())
