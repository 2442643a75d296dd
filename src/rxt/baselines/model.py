"""The baselines as models: a decoder-only transformer, and one that carries memory tokens from turn to turn."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rxt.baselines.config import BaselineConfig, BaselineKind
from rxt.baselines.decoder_only import DecoderOnly, equal_size
from rxt.config import RxTConfig
from rxt.data.collate import Rows
from rxt.files import make_folder, write_atomically
from rxt.model.decoder import Hidden
from rxt.model.weights import Weights, write_weights

CONFIG = "config.json"


class Turn(NamedTuple):
    """What a recurrent baseline makes of one interaction."""

    hidden: Hidden
    """States (B, T, D) of the interaction's tokens."""
    memory: Tensor
    """(B, M, D) after it."""


class Baseline(nn.Module):
    """A decoder-only transformer; the recurrent one has memory tokens too (Bulatov, Kuratov and Burtsev 2022, arXiv
    2207.06881)."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = DecoderOnly(config.decoder)
        if config.memory_tokens:
            shape, std = (config.memory_tokens, config.decoder.width), config.decoder.width**-0.5
            self.first_memory = nn.Parameter(torch.randn(shape) * std)
            self.write_tokens = nn.Parameter(torch.randn(shape) * std)

    def start(self, batch_size: int) -> Tensor:
        """Memory (B, M, D) of conversations that have not begun."""
        return self.first_memory.expand(batch_size, -1, -1)

    def turn(self, rows: Rows, memory: Tensor) -> Turn:
        """Read ``[memory] [interaction] [write tokens]`` as one causal sequence; the write tokens' states are the new
        memory (B, M, D).

        The write tokens stand right after each row's own last token, so that padding is behind everything.
        """
        batch_size, size, _ = memory.shape
        lengths = rows.mask.sum(1)
        longest = rows.ids.shape[1]
        parts = torch.cat(
            [memory, self.decoder.embedding(rows.ids), self.write_tokens.expand(batch_size, -1, -1)], dim=1
        )
        steps = torch.arange(longest + 2 * size, device=memory.device).expand(batch_size, -1)
        ends = (size + lengths)[:, None]  # where each row's write tokens begin
        source = torch.where(steps < ends, steps, steps - ends + size + longest)  # what stands at each place
        padding = source >= longest + 2 * size
        source = source.masked_fill(padding, 0)
        x = parts.gather(1, source[:, :, None].expand_as(parts))
        states, balance = self.decoder.run(x, torch.arange(x.shape[1], device=x.device), ~padding)
        written = ends + torch.arange(size, device=x.device)
        new = states.gather(1, written[:, :, None].expand(-1, -1, states.shape[2]))
        return Turn(Hidden(states[:, size : size + longest], balance), new)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``; weights first, so that a folder with a configuration is
        complete."""
        make_folder(folder)
        write_weights(
            folder,
            {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()},
            {"format": "rxt-baseline"},
        )
        write_atomically(folder / CONFIG, self.config.to_json().encode())

    @classmethod
    def from_folder(cls, folder: Path, config: BaselineConfig) -> Baseline:
        """Read the weights that :meth:`save_pretrained` wrote."""
        with Weights(folder) as weights:
            return weights.make(lambda: cls(config), lambda model: model.state_dict())


def baseline_like(config: RxTConfig, kind: BaselineKind, trained_turns: int | None = None) -> BaselineConfig:
    """The baseline of a Reactive Transformer's size: same vocabulary, width and blocks, as many layers as bring it
    nearest.

    A recurrent one carries as many memory tokens as the Reactive Transformer has slots in a layer.
    """
    longest = config.max_length * (trained_turns or 1)
    tokens = config.memory_attention.slots if kind == "recurrent" else 0
    return BaselineConfig(
        kind, equal_size(config, longest).config, config.max_length, config.template, tokens, trained_turns
    )
