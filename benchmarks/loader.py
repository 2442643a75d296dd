"""How fast batches come out of prepared data, and that reading takes the same memory however much data there is.

    python benchmarks/loader.py --megabytes 3000 --limit 300

writes a corpus of made-up words, prepares it, and draws packed rows from it in a process of its own, which may use no
more than ``--limit`` megabytes of address space. It prints tokens per second of both, and how much memory the reading
process has of its own (anonymous) and in mapped files, early and late. Linux only.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

import tyro

from rxt.data.prepared.folder import PreparedFolder
from rxt.data.prepared.prepare import prepare
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.training.data_config import PreparedSource
from rxt.training.prepared_sources import PreparedTexts

EARLY = 20
"""Steps after which memory is looked at first."""


@dataclass(frozen=True)
class Options:
    """How much, and how it is read."""

    megabytes: int = 200
    """Of text."""
    workers: int = 2
    """Processes that tokenize."""
    length: int = 256
    """Tokens of a row."""
    batch: int = 64
    """Rows of a step."""
    steps: int = 500
    limit: int | None = None
    """Megabytes of address space that the reading process may use."""
    folder: Path | None = None
    """Read this prepared folder instead of making one."""


def texts(megabytes: int) -> Iterator[str]:
    """Texts of made-up words, a few hundred of them each, some words as much more frequent than others as in a
    language (by Zipf's law)."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    frequencies = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    written = 0
    while written < megabytes * 1e6:
        text = " ".join(rng.choices(words, cum_weights=frequencies, k=rng.randint(50, 800)))
        written += len(text)
        yield text


def memory() -> str:
    """What this process has in memory now, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    own, mapped = (int(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile"))
    return f"{own:.0f} MB of its own, {mapped:.0f} MB of mapped files"


def read(options: Options, folder: Path) -> None:
    """Draw the steps."""
    if options.limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (options.limit * 2**20, options.limit * 2**20))
    opened = PreparedFolder.open(folder)
    tokenizer = opened.template.tokenizer
    template = Template(tokenizer, opened.index.plan.template, options.length)
    source = PreparedTexts.load(PreparedSource((str(folder),)), seed=0)
    source.text(template, "train", 0, options.batch)  # finds where the rows begin
    began, tokens = time.perf_counter(), 0
    for step in range(options.steps):
        tokens += sum(len(row.ids) for row in source.text(template, "train", step, options.batch))
        if step == EARLY:
            print(f"after {EARLY} steps: {memory()}")
    seconds = time.perf_counter() - began
    print(f"after {options.steps} steps: {memory()}")
    print(f"read: {tokens / seconds:,.0f} tokens per second, one process, of {opened.index.tokens:,} tokens")


def write(options: Options, folder: Path) -> Path:
    """Make the corpus and prepare it."""
    source = folder / "corpus.jsonl"
    with source.open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts(options.megabytes))
    tokenizer = ChatTokenizer.train(islice(texts(options.megabytes), 2_000), 8_192)
    began = time.perf_counter()
    index = prepare([str(source)], tokenizer, folder / "prepared", workers=options.workers)
    seconds = time.perf_counter() - began
    print(f"prepared: {index.tokens / seconds:,.0f} tokens per second, {options.workers} processes")
    source.unlink()
    return folder / "prepared"


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.folder is not None:
        read(options, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared = write(options, Path(folder))
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--folder", str(prepared)], check=True)


if __name__ == "__main__":
    main()
