"""``rxt chat``: a terminal conversation, or one answer a line where standard input is piped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.cli.streams import standard_input
from rxt.cli.threads import choose_threads
from rxt.cli.tool_loop import answer
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.generation.conversation import Conversation
    from rxt.tools.builtin import ToolBox


@dataclass(frozen=True)
class Options:
    """Talk to a model. It remembers by a memory of constant size, which a file can keep.

    With standard input piped: one message a line in, one answer a line out.
    """

    model: Annotated[str | None, Positional, arg(metavar="[MODEL]", help_behavior_hint="")] = None
    """A model folder, the name of a bundled one, or owner/name on the Hugging Face Hub; without it the bundled
    model."""
    base: Annotated[str | None, arg(metavar="BASE", help_behavior_hint="")] = None
    """Where the pre-trained model is that MODEL is the memory of: a folder, a GGUF file, or owner/name on the Hub."""
    memory: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Continue from this memory if the file exists, and save to it after every turn."""
    knowledge: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Begin with what rxt memory build has read; a memory file that exists has its own already."""
    shared: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Fragments that several conversations share, one after the other: what was told in one, the others recall. Read
    where the file exists, and saved to it after every turn; with a model that keeps fragments."""
    system: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None
    """A system prompt, memorized at the start; a memory file that exists has its own already."""
    thinking: Literal["fast", "thinking", "auto"] = "fast"
    """Answer at once, after thinking, or as the model decides: with a model that has learned it."""
    thinking_budget: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """The longest thinking in tokens; by default what leaves room for an answer."""
    tools: Annotated[str | None, arg(metavar="NAMES", help_behavior_hint="")] = None
    """Tools that the model may call: clock, calculator, notebook, or several with commas between them. It is told of
    them with the system prompt."""
    calls: Literal["auto", "strict", "free"] = "auto"
    """Hold calls to their tool's schema while they are written, which needs llguidance (auto: where it is installed),
    or let the model write them as it likes."""
    temperature: float = 0.0
    """0 always takes the likeliest token; 1 draws from the model's own distribution."""
    top_k: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Draw from the k likeliest tokens only."""
    top_p: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Draw from the likeliest tokens that together have this probability."""
    min_p: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Drop tokens below this share of the likeliest token's probability."""
    repetition_penalty: float = 1.0
    """Above 1 makes tokens that are already there less likely."""
    max_new_tokens: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """The longest answer in tokens; by default what fits into the model's length."""
    updates: Literal["float32", "bfloat16", "auto"] = "float32"
    """The type that memory updates multiply in, on a processor; auto: bfloat16 where that is faster."""
    seed: int = 0
    """Of the fresh memory and of drawing: the same seed and messages give the same answers."""


def run(argv: list[str]) -> int:
    """The verb ``chat``."""
    options = parse_arguments(Options, "rxt chat", argv)
    source, tools = standard_input("messages"), built_in_tools(options.tools)
    if source.isatty() and sys.stdout.isatty():
        from rxt.cli.terminal import Terminal, loading

        with loading():
            chat = open_conversation(options, tools)
        Terminal(chat, options.model or "bundled model", options.memory, tools=tools).run()
    else:
        answer_lines(open_conversation(options, tools), source, sys.stdout.buffer, options.memory, tools)
    return 0


def built_in_tools(names: str | None) -> ToolBox | None:
    """Those that are named, if any are."""
    if names is None:
        return None
    from rxt.tools.builtin import ToolBox

    return ToolBox.of_names(names)


def strict_calls(options: Options) -> bool:
    """Whether calls are held to their tool's schema."""
    if options.calls == "strict" and options.tools is None:
        raise UserError("--calls strict: there are no tools to call; name some with --tools")
    if options.calls == "free" or options.tools is None:
        return False
    from rxt.generation.json_answers import can_be_json

    return options.calls == "strict" or can_be_json()


def open_conversation(options: Options, tools: ToolBox | None = None) -> Conversation:
    """Load the model, and the memory file where there is one already."""
    if options.memory is not None:
        check_writable(options.memory)
    if options.shared is not None:
        check_writable(options.shared)
    import torch

    from rxt.generation.manner import Manner
    from rxt.generation.sampling import Sampling
    from rxt.generation.shared_memory import SharedMemory
    from rxt.model.parameters import parameter_counts
    from rxt.model.pool import Pool, load_memory
    from rxt.pretrained import load_chat

    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.min_p, options.repetition_penalty)
    memory = load_memory(options.memory) if options.memory is not None and options.memory.exists() else None
    system = options.system if memory is None else None
    told = () if tools is None else tools.tools
    manner = Manner(options.thinking, options.thinking_budget, told, strict_calls=strict_calls(options))
    knowledge = None if options.knowledge is None else Pool.load(options.knowledge)
    chat = load_chat(
        options.model,
        options.seed,
        sampling,
        system,
        options.max_new_tokens,
        base=options.base,
        manner=manner,
        knowledge=knowledge,
        shared=None if options.shared is None else SharedMemory.in_file(options.shared),
        updates=options.updates,
    )
    if memory is not None:
        chat.restore(memory)
    torch.set_num_threads(choose_threads(parameter_counts(chat.model.config).decoder_active))
    return chat


def check_writable(path: Path) -> None:
    """Refuse a memory file that cannot be saved later, before anything has been said."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UserError(f"{path}: this is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: the folder {path.parent} cannot be written to")


def answer_lines(
    chat: Conversation, source: BinaryIO, target: BinaryIO, memory: Path | None, tools: ToolBox | None = None
) -> None:
    """One message a line in, one answer a line out, each written as soon as it is there; a line break in an answer is a
    space."""
    for number, query in _lines(source):
        try:
            text = answer(chat, query, tools)
        except UserError as error:
            raise UserError(f"standard input line {number}: {error}") from None
        target.write(" ".join(text.splitlines()).encode() + b"\n")
        target.flush()
        if memory is not None:
            chat.save(memory)
    chat.wait()


def _lines(source: BinaryIO) -> Iterator[tuple[int, str]]:
    """The messages with their line numbers; a line without a message is an error, for it would be left without an
    answer."""
    for number, line in enumerate(source, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(f"standard input line {number}: not UTF-8 (byte {error.start + 1} of the line)") from None
        if not text.strip():
            raise UserError(f"standard input line {number}: empty message")
        yield number, text
