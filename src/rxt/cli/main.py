"""``rxt VERB …``: one table, from a verb to the function that does it. Nothing is imported before it is asked for."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from rxt.cli.streams import discard_output, make_output_safe
from rxt.errors import UserError


class Verb(NamedTuple):
    """What ``rxt --help`` says of a verb, and where its ``run(argv) -> exit code or None`` is."""

    summary: str
    where: str


VERBS = {
    "chat": Verb("talk to a model; it remembers", "rxt.cli.chat:run"),
    "train": Verb("train a model by a recipe", "rxt.cli.train:run"),
    "data": Verb("make files ready for training, of any size, and look into them", "rxt.cli.data:run"),
    "fill-mask": Verb("guess the words that [MASK] hides in a text", "rxt.cli.fill_mask:run"),
    "classify": Verb("say of which class texts are", "rxt.cli.classify:run"),
    "info": Verb("the sizes by name, or one model's parts", "rxt.cli.info:run"),
    "convert": Verb("write a model in the other layout, or assemble one from parts", "rxt.cli.convert:run"),
    "average": Verb("one model out of several of the same run: the mean of their weights", "rxt.cli.average:run"),
    "eval": Verb("measure a model: retention, latency, perplexity", "rxt.cli.eval:run"),
    "serve": Verb("offer a model over HTTP, as OpenAI's clients speak it", "rxt.cli.serve:run"),
    "memory": Verb("read texts into fragments of memory that conversations begin with", "rxt.cli.memory:run"),
    "db": Verb("look into, copy and tidy up the store of a server", "rxt.cli.db:run"),
    "bench": Verb("how fast a model runs here, beside what the machine could do", "rxt.cli.bench:run"),
}
USER_MISTAKE = 2
INTERRUPTED = 130
OF_THE_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT}
"""Errors that no change of the program mends: what may not be read or written, no name for a file, a full disk."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line; the return value is the process's exit code."""
    argv = sys.argv[1:] if argv is None else argv
    make_output_safe()
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"rxt: {error}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has left.
        discard_output()
        return 1
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        where = "output" if error.filename is None else str(error.filename)
        print(f"rxt: {where:.200}: {os.strerror(error.errno).lower()}", file=sys.stderr)
        discard_output()
        return USER_MISTAKE


def _dispatch(argv: list[str]) -> int:
    match argv:
        case [] | ["-h" | "--help" | "help", *_]:
            print(usage())
            return 0
        case ["--version" | "-V", *_]:
            import rxt

            print(f"rxt {rxt.__version__}")
            return 0
        case [verb, *rest] if verb in VERBS:
            return _find(verb)(rest) or 0
        case [word, *_]:
            raise UserError(f"{word}: no such {'option' if word.startswith('-') else 'command'}; {_suggest(word)}")
    raise AssertionError(argv)


def _find(verb: str) -> Callable[[list[str]], int | None]:
    module, _, function = VERBS[verb].where.partition(":")
    return getattr(import_module(module), function)


def _suggest(word: str) -> str:
    close = get_close_matches(word, [*VERBS, "--help", "--version"], n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(VERBS)} (rxt --help)"


def usage() -> str:
    """The text of ``rxt --help``."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return (
        "Reactive Transformers: conversation models with a fixed-size memory.\n\n"
        f"usage: rxt COMMAND [options]\n\n{verbs}\n\n"
        "rxt COMMAND --help tells more; rxt --version prints the version."
    )
