"""``rxt info``: the sizes by name, or one model's parts. Worked out from configurations, without weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.cli.info_base import base_details, is_base
from rxt.cli.info_words import attention, feed_forward
from rxt.config import GateConfig, MemoryAttentionConfig, QueueConfig, RxTConfig
from rxt.errors import UserError
from rxt.folders import BUNDLED, bundled_names, model_folder
from rxt.interop.base_files import PACKAGES
from rxt.presets import preset, preset_names

FLOAT32 = 4
"""Bytes of a number of the memory."""


@dataclass(frozen=True)
class Options:
    """Show the sizes that have a name, or one model's parts."""

    model: Annotated[str | None, Positional, arg(metavar="[MODEL|PRESET]", help_behavior_hint="")] = None
    """A preset's name, a model folder, owner/name on the Hugging Face Hub, or a pre-trained model's folder, GGUF file
    or package; without it the table of all presets."""


def run(argv: list[str]) -> int:
    """The verb ``info``."""
    options = parse_arguments(Options, "rxt info", argv)
    console = Console(highlight=False)
    if options.model is None:
        console.print(overview())
        console.print(
            "active: what one token uses of the decoder · memory: what a conversation keeps, in float32", style="dim"
        )
    else:
        known = options.model in preset_names() or _no_such(options.model)
        console.print(
            details(*find(options.model)) if known or not is_base(options.model) else base_details(options.model)
        )
    return 0


def find(name: str) -> tuple[str, RxTConfig]:
    """What ``name`` is, and its configuration: a preset, or else a folder or a model of the Hub."""
    if name in preset_names():
        return f"preset {name}", preset(name)
    if _no_such(name):
        preset(name)  # says which names are near
    return name, read_config(name)


def _no_such(name: str) -> bool:
    """Whether a name can only be a preset's."""
    return not Path(name).expanduser().exists() and "/" not in name and name not in (*bundled_names(), *PACKAGES)


def read_config(source: str) -> RxTConfig:
    """A model's configuration, in this project's layout or in the published one, which takes reading the weights."""
    path = model_folder(source, weights=False) / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return RxTConfig.from_file(path)  # says what is wrong
    if "decoder" in values:
        return RxTConfig.from_file(path)
    if "decoder_config" not in values:
        raise UserError(f"{path}: not a whole model's configuration; rxt info shows presets and whole models")
    from rxt.pretrained import ReactiveTransformer

    return ReactiveTransformer.from_pretrained(model_folder(source)).config


def overview() -> Table:
    """All presets, and the bundled model where there is one."""
    from rxt.model.parameters import parameter_counts

    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    table.add_column("name", no_wrap=True)
    for heading in ("total", "decoder", "active", "encoder", "memory\nattn.", "memory", "tokens\na turn"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(name, preset(name)) for name in preset_names()]
    if (BUNDLED / "config.json").is_file():
        rows.append(("bundled model", RxTConfig.from_file(BUNDLED / "config.json")))
    for name, config in rows:
        counts = parameter_counts(config)
        numbers = (counts.total, counts.decoder, counts.decoder_active, counts.encoder, counts.memory_attention)
        table.add_row(name, *map(short, numbers), in_bytes(counts.memory * FLOAT32), f"{config.max_length:,}")
    return table


def details(title: str, config: RxTConfig) -> Table:
    """One model, part by part."""
    from rxt.model.consolidation import SelfAttention, layer_class
    from rxt.model.parameters import parameter_counts

    counts, decoder, encoder, memory = parameter_counts(config), config.decoder, config.encoder, config.memory_attention
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def section(name: str, parameters: str) -> None:
        table.add_row()
        table.add_row(f"[not dim bold]{name}", parameters)

    table.add_row(
        "parameters", f"{counts.total:,}, with the embedding that decoder and encoder share ({counts.embedding:,}) once"
    )
    table.add_row("layers x width", f"{decoder.layers} x {decoder.width}")
    if decoder.memory_layers is not None:
        table.add_row("layers with memory", ", ".join(map(str, decoder.memory_layers)))
    if config.base is not None:
        at = f", revision {config.base.revision}" if config.base.revision else ""
        stored = "stored here too" if config.base.included else "stored elsewhere"
        table.add_row("built on", f"{config.base.name}{at} ({stored}), fingerprint {config.base.fingerprint}")
    table.add_row("vocabulary", f"{decoder.vocab_size:,}")
    if config.markers is None:
        template = f"{config.template} template"
    else:
        template = "the base's chat template" + (", with thinking and tools" if config.template == "beta" else "")
    table.add_row("a turn", f"at most {config.max_length:,} tokens, {template}")
    layers, slots, width = config.memory_shape
    start = config.memory_init + (
        "" if config.memory_seed is None else f", always the draw of seed {config.memory_seed}"
    )
    table.add_row(
        "memory",
        f"{layers} layers x {slots:,} slots x {width} = {in_bytes(counts.memory * FLOAT32)} a conversation in float32",
    )
    table.add_row("fresh memory", start)
    if config.pool is not None:
        pool, resident = config.pool, config.pool.resident_slots(slots)
        table.add_row("a turn sees", f"{resident} resident slots, {pool.chosen} fragments of {pool.fragment_slots}")

    active = "" if counts.decoder_active == counts.decoder else f", {counts.decoder_active:,} active for a token"
    section("decoder", f"{counts.decoder:,} parameters{active}")
    table.add_row("self-attention", attention(decoder.self_attention))
    if decoder.place is None:
        table.add_row("memory cross-attention", attention(decoder.cross_attention))
    else:
        table.add_row("memory", "seen by self-attention, beside the layer's own tokens")
    table.add_row("feed-forward", feed_forward(decoder.feed_forward))
    for name, stack in (
        ("layers before, no memory", decoder.stateless),
        ("layers after, no memory", decoder.final_stateless),
    ):
        if stack:
            table.add_row(
                name, "; ".join(f"{len([*alike])} x {text}" for text, alike in groupby(map(feed_forward, stack)))
            )
    table.add_row("norm", decoder.norm + (f", {decoder.head_norm} before the head" if decoder.head_norm else ""))

    if encoder.shared:
        section("encoder", "the decoder's own layers, without memory")
    else:
        section("encoder", f"{counts.encoder:,} parameters")
        table.add_row("self-attention", attention(encoder.self_attention))
        if encoder.cross_attention is not None:
            table.add_row("memory cross-attention", attention(encoder.cross_attention))
        table.add_row("feed-forward", feed_forward(encoder.feed_forward))

    consolidates = layer_class(memory.variant).has_consolidation
    section("memory attention", f"{counts.memory_attention:,} parameters")
    table.add_row("variant", memory.variant + (f", {memory.groups} groups of layers" if memory.groups else ""))
    tokens = memory.variant == "tokens"
    table.add_row("write", "tokens as they are" if tokens else attention(memory.attention))
    if memory.queue is not None:
        table.add_row("queue", queue(memory.queue, memory.slots))
    if issubclass(layer_class(memory.variant), SelfAttention):
        table.add_row("consolidation", attention(memory.consolidation or memory.attention))
    if not tokens:
        table.add_row("gates", gates(memory, consolidates))
    table.add_row("norm", memory.norm.kind + (", mixed with its input" if memory.norm.mixed else ""))
    return table


def queue(config: QueueConfig, slots: int) -> str:
    """A queue of interactions in words."""
    taken = config.places * config.slots
    return f"{config.places} interactions x {config.slots} slots, {slots - taken} open to all"


def gates(config: MemoryAttentionConfig, consolidates: bool) -> str:
    """The residual gates in words."""
    gate: GateConfig = config.gate
    if gate.kind in ("ungated", "replace"):
        return gate.kind
    consolidation = "" if config.self_gate or not consolidates else ", the consolidation ungated"
    return f"{gate.kind}, {gate.activation}, one {'a slot' if gate.per_slot else 'a layer'}{consolidation}"


def short(count: int) -> str:
    """A count in a few digits: 141,379,104 is 141.4M."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.2f}{unit}" if count < 10 * size else f"{count / size:.1f}{unit}"
    return str(count)


def in_bytes(count: int) -> str:
    """A size in bytes, in binary units: 3 MiB."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
