"""A data set of the hub as a stream: rows come over the network as they are read, and no file is kept.

The ``datasets`` package reads whatever layout of files a data set has; it is an extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rxt.errors import UserError

PREFIX = "stream:"
EXTRA = 'pip install "reactive-transformers[datasets]"'


@dataclass(frozen=True)
class HubStream:
    """One split of a data set, at one commit."""

    name: str
    """In messages."""
    repo: str
    subset: str | None
    split: str
    revision: str

    @classmethod
    def of(cls, source: str, repo: str, subset: str | None, split: str, timeout: float) -> HubStream:
        """The split as it is now.

        Raises:
            UserError: the package is not installed, or the hub gives no such data set.
        """
        from huggingface_hub import HfApi

        _datasets(source)
        try:
            revision = HfApi().dataset_info(repo, timeout=timeout).sha or "main"
        except Exception as error:  # the hub client raises its own errors and those of its HTTP library, by version
            raise UserError(f"{source}: the hub gives no such data set ({_reason(error)})") from None
        return cls(source, repo, subset, split, revision)

    def values(self) -> Iterator[Any]:
        """The records, in the order of the data set.

        Raises:
            UserError: there is no such subset or split, or the connection is lost.
        """
        try:
            yield from _datasets(self.name).load_dataset(
                self.repo, self.subset, split=self.split, revision=self.revision, streaming=True
            )
        except Exception as error:  # as above; what is read is the hub's and the package's business
            raise UserError(f"{self.name}: cannot be read ({_reason(error)}); the same command goes on") from None


def _datasets(source: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise UserError(f"{source}: a stream of the hub needs the datasets package: {EXTRA}") from None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]
