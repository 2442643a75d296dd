"""Memory as a queue: the newest interactions side by side, and slots that keep what a gate lets them keep.

Of S slots the first G·R are G places of R slots, the newest interaction's first; the others are open to every
interaction. With m a layer's memory, e the encoded interaction, a learned queries (as many as R and the open slots) and
δ learned steps of age, one for each place but the last::

    n  = attn(query=a, keys=values=e)
    m' = [ n[:R] ; m[:(G-1)·R] + δ ; gate(old=m[G·R:], new=n[R:]) ]

What a slot takes in does not depend on what it holds: a slot that looked for what is like its content would find what
all interactions have in common, and the second interaction would have no slots that look at it. One set of queries
serves all places, so that whoever learns to write one interaction has learned to write all, however many follow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config import MemoryAttentionConfig
from rxt.model.attention import KeyValue
from rxt.model.consolidation import MemoryAttentionLayer
from rxt.model.memory_gate import ResidualGate


class Queue(MemoryAttentionLayer):
    """What is oldest falls out at the end."""

    has_consolidation = False

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.input_norm = self.new_input_norm()
        queue = config.queue
        assert queue is not None
        self.place, self.queued = queue.slots, queue.places * queue.slots
        shapes_alone = torch.get_default_device().type == "meta"  # there, drawing would load what nobody needs
        draw = torch.empty if shapes_alone else torch.randn
        self.queries = nn.Parameter(draw(queue.slots + config.slots - self.queued, config.width))
        """(R + open slots, D)"""
        self.age = nn.Parameter(torch.zeros(queue.places - 1, config.width))
        """δ (G - 1, D): by how much what is told differs, for those who read it, from what was told a turn earlier."""
        self.gate = ResidualGate(config.gate, config.width, config.slots - self.queued)

    def take_in(self, source: KeyValue, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What interactions offer, whatever is remembered: the newest place (B, R, D), and to the open slots
        (B, S - G·R, D)."""
        queries = self.queries.to(source.keys.dtype).expand(len(source.keys), -1, -1)
        written = self.attention(queries, source, mask=mask)
        return written[:, : self.place], written[:, self.place :]

    def ages(self) -> Tensor:
        """(G, D) by how much the content of each place differs from what it was when it was the newest."""
        return torch.cat((self.age.new_zeros(1, self.config.width), self.age.cumsum(0)))

    def forward(self, memory: Tensor, mean: Tensor | None, source: KeyValue, mask: Tensor | None) -> Tensor:
        newest, offered = (part.to(memory.dtype) for part in self.take_in(source, mask))
        held, kept = memory[:, : self.queued], memory[:, self.queued :]
        older = held[:, : -self.place] + self.age.repeat_interleave(self.place, 0)
        return torch.cat((newest, older, self.gate(kept, offered)), 1)
