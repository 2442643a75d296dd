"""Which models can begin with weights that go on in what was told before."""

from __future__ import annotations

from rxt.config.attention import AttentionConfig
from rxt.config.checks import require
from rxt.config.whole import RxTConfig


def check_copying(config: RxTConfig) -> None:
    """Refuse a model that cannot begin so.

    Raises:
        UserError: it says what would have to be different.
    """
    decoder, where = config.decoder, "copies"
    require(config.base is None and not config.encoder.shared, where, "is for models from nothing, with an encoder")
    require(decoder.layers >= 2 and not decoder.stateless, where, "needs two layers at least, none of them stateless")
    require(decoder.reading[:1] == (0,), where, "needs a first layer that reads memory (decoder.memory_layers)")
    for name, attention in {
        "decoder.self_attention": decoder.self_attention,
        "encoder.self_attention": config.encoder.self_attention,
    }.items():
        require(attention.input_bias and attention.rotated, where, f"needs {name} with input_bias, rotated")
        require(not attention.qk_norm, where, f"needs {name} without qk_norm")
        require(_is_plain(attention, decoder.width), where, f"needs {name} with heads of their own that span the width")
    require(_is_plain(decoder.cross_attention, decoder.width), where, "needs a cross_attention of the same kind")


def _is_plain(attention: AttentionConfig, width: int) -> bool:
    """Whether as many heads ask as are asked, and all together are as wide as the model."""
    heads = {attention.query_heads, attention.kv_heads}
    return len(heads) == 1 and attention.query_heads * attention.head_size(width) == width and not attention.gated
