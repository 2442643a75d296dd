"""``rxt info`` of a pre-trained model: what a memory would be built on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.base_files import base_file

if TYPE_CHECKING:
    from rxt.config import Marker, Markers
    from rxt.data.tokenizer import ChatTokenizer


def is_base(source: str) -> bool:
    """Whether a file, package, folder or repository of the Hub holds a pre-trained language model without memory."""
    if base_file(source) is not None:
        return True
    from rxt.config import read_json
    from rxt.interop.llama import is_checkpoint
    from rxt.interop.published import is_published

    path = model_folder(source, weights=False) / "config.json"
    if not path.is_file():
        return False
    values = read_json(path)
    return is_checkpoint(values) and not is_published(values)


def base_details(source: str) -> Table:
    """A pre-trained model, part by part; its weights are not read."""
    import torch

    from rxt.cli.info_words import attention, feed_forward
    from rxt.interop.backbone import read_config
    from rxt.interop.base_tokenizer import load_base_tokenizer
    from rxt.model.decoder import Decoder
    from rxt.model.layers import make_embedding

    config = read_config(source)
    with torch.device("meta"):
        decoder = Decoder(config, make_embedding(config.vocab_size, config.width))
    count = sum(weight.numel() for weight in decoder.parameters())
    table = Table(box=None, show_header=False, pad_edge=False, title=source, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("a pre-trained model", "without memory; rxt.ReactiveTransformer.on_base gives it one")
    table.add_row("parameters", f"{count:,}" + (", the embedding is the head too" if config.tied_head else ""))
    table.add_row("layers x width", f"{config.layers} x {config.width}")
    table.add_row("vocabulary", f"{config.vocab_size:,}")
    table.add_row("longest text", f"{config.max_length:,} tokens")
    table.add_row("self-attention", attention(config.self_attention))
    rope = config.self_attention
    table.add_row(
        "rotation", f"base {rope.rope_base:,.0f}" + (", stretched for longer texts" * bool(rope.rope_factors))
    )
    table.add_row("feed-forward", feed_forward(config.feed_forward))
    try:
        tokenizer = load_base_tokenizer(source)
    except UserError as error:
        table.add_row("chat template", f"cannot be used: {escape(str(error))}")
        return table
    assert tokenizer.markers is not None
    turn, system = written(tokenizer, tokenizer.markers)
    table.add_row("a turn", escape(turn))
    table.add_row("system prompt", escape(system or "none"))
    return table


def written(tokenizer: ChatTokenizer, markers: Markers) -> tuple[str, str]:
    """A turn and a system prompt as the chat template writes them; texts are …, and line breaks \\\\n."""

    def show(*ids: int) -> str:
        return tokenizer.show(ids).replace("\n", "\\n")

    def opened(marker: Marker) -> str:
        return show(*marker.ids) + (" …" if marker.space else "…")

    turn = show(*markers.begin) + opened(markers.query) + opened(markers.answer) + show(*markers.end)
    return turn, "" if markers.system is None else opened(markers.system) + show(*markers.system_end)
