"""A further variant of memory attention is one class and one line of the registry; everything else asks those."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from factories import tiny_config
from rxt.bench.cost import memorize
from rxt.cli.main import main
from rxt.config import VARIANTS, MemoryAttentionConfig, RxTConfig, Variant
from rxt.errors import UserError
from rxt.model.consolidation import SelfAttention
from rxt.model.parameters import parameter_counts
from rxt.pretrained import ReactiveTransformer

NAME = "topics"
TOPICS = 3


class Topics(SelfAttention):
    """Slots look at each other and at a few learned vectors."""

    published = None

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.topics = nn.Parameter(torch.zeros(TOPICS, config.width))

    def source(self, normed: Tensor, mean: Tensor | None) -> Tensor:
        return torch.cat([normed, self.topics.expand(len(normed), -1, -1)], dim=1)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> RxTConfig:
    monkeypatch.setitem(VARIANTS, NAME, Variant(f"{__name__}:Topics"))
    return with_variant(NAME)


def with_variant(name: str) -> RxTConfig:
    config = tiny_config()
    return replace(config, memory_attention=replace(config.memory_attention, variant=name))


def test_it_is_not_known_without_its_line() -> None:
    with pytest.raises(UserError, match=f"memory_attention.variant.*'self-interlayer'.*'{NAME}'"):
        with_variant(NAME)


def test_it_is_counted_and_costed(config: RxTConfig) -> None:
    layers, slots, width = config.memory_shape
    counts, known = parameter_counts(config), parameter_counts(with_variant("self"))
    assert counts.memory_attention - known.memory_attention == layers * TOPICS * width
    model = ReactiveTransformer(config)
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())

    attention = config.memory_attention.attention
    head = width // attention.heads
    more = 2 * TOPICS * width * 2 * attention.kv_heads * head + 4 * slots * TOPICS * attention.output_heads * head
    assert memorize(config, 1, 5).flops - memorize(with_variant("self"), 1, 5).flops == layers * more


def test_it_trains_and_is_saved_and_described(
    config: RxTConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = ReactiveTransformer(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = torch.randint(5, 320, (2, 7))
    before = model.init_memory(2)
    slots = model.memory_attention(before.slots, model.encoder(ids))
    model.decoder(ids, slots).logsumexp(-1).mean().backward()
    optimizer.step()
    assert all(layer.topics.abs().max() > 0 for layer in model.memory_attention.layers)  # type: ignore[operator, union-attr]

    model.eval().save_pretrained(tmp_path / "model")
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "model")
    assert loaded.config == config
    assert torch.equal(loaded.memorize(before, ids).slots, model.memorize(before, ids).slots)

    assert main(["info", str(tmp_path / "model")]) == 0
    out = capsys.readouterr().out
    assert NAME in out
    assert "consolidation" in out


def test_the_published_layout_has_no_place_for_it(config: RxTConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"published layout has no place for.*{NAME}"):
        ReactiveTransformer(config).save_pretrained(tmp_path / "model", layout="published")
