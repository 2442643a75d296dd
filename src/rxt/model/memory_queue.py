"""Memory as a queue: the newest interactions side by side, and slots that keep what a gate lets them keep.

Of S slots the first G·R are G places of R slots, the newest interaction's first; the others are open to every
interaction. With m a layer's memory, e the encoded interaction, a learned queries (as many as R and the open slots) and
δ learned steps of age, one for each place but the last::

    n  = attn(query=a, keys=values=e)
    m' = [ n[:R] ; m[:(G-1)·R] + δ ; gate(old=m[G·R:], new=n[R:]) ]

What a slot takes in does not depend on what it holds: a slot that looked for what is like its content would find what
all interactions have in common, and the second interaction would have no slots that look at it. One set of queries
serves all places, so that whoever learns to write one interaction has learned to write all, however many follow.

In the variant ``tokens`` a place holds the interaction's tokens themselves, one a slot, in their order, without those
that open every interaction alike. Nothing is projected, and no slot is open to all. Slot i of a place looks at the
token around position c_i, for an interaction of T tokens::

    c_i = i · s,  s = max(1, (T-1) / (R-1))
    n_i = Σ_j softmax_j(a_i·e_j/√D - 8 ((c_i - j) / s)²) e_j,  and 0 where c_i > T - 1
    m'  = [ n ; m[:(G-1)·R] ]

with queries a that start at zero. So an interaction that is no longer than a place stands there token by token, and is
read as self-attention would read it; of a longer one every slot holds a mean of neighbours.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from rxt.config import MemoryAttentionConfig
from rxt.model.attention import KeyValue
from rxt.model.consolidation import MemoryAttentionLayer
from rxt.model.layers import Rotation
from rxt.model.memory_gate import ResidualGate

SHARPNESS = 8.0
"""Of a slot's look at its token: at the token's neighbours it looks e⁻⁸ times as much."""


class Queue(MemoryAttentionLayer):
    """What is oldest falls out at the end."""

    has_consolidation = False

    place: int
    """R: slots of an interaction."""
    queued: int
    """G·R: slots of all places."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.input_norm = self.new_input_norm()
        assert config.queue is not None
        self.place, self.queued = config.queue.slots, config.queue.places * config.queue.slots

    @abstractmethod
    def take_in(self, source: KeyValue, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What interactions offer, whatever is remembered: the newest place (B, R, D), and to the open slots
        (B, S - G·R, D)."""


class LearnedQueue(Queue):
    """Learned queries choose what of an interaction is kept, for its place and for the slots that are open to all."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        queue = config.queue
        assert queue is not None
        shapes_alone = torch.get_default_device().type == "meta"  # there, drawing would load what nobody needs
        draw = torch.empty if shapes_alone else torch.randn
        self.queries = nn.Parameter(draw(queue.slots + config.slots - self.queued, config.width))
        """(R + open slots, D)"""
        self.age = nn.Parameter(torch.zeros(queue.places - 1, config.width))
        """δ (G - 1, D): by how much what is told differs, for those who read it, from what was told a turn earlier."""
        self.gate = ResidualGate(config.gate, config.width, config.slots - self.queued)

    def take_in(self, source: KeyValue, mask: Tensor | None) -> tuple[Tensor, Tensor]:
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


class TokenQueue(Queue):
    """A queue of tokens: nothing is projected, each slot of a place has a token of its own, and no slot is open to all.
    How old something is, its place says (:meth:`rxt.model.decoder.DecoderLayer.placed`)."""

    has_projections = False

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        assert config.queue is not None
        self.skipped = config.queue.skipped
        self.queries = nn.Parameter(torch.zeros(self.place, config.width))
        """(R, D)"""

    def project(self, encoded: Tensor, rotation: Rotation | None) -> KeyValue:
        """The encoded interaction (B, T, D) as it is, of one head."""
        tokens = self.normed(encoded).unsqueeze(1)
        return KeyValue(tokens, tokens)

    def take_in(self, source: KeyValue, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens = source.values.squeeze(1)  # (B, T, D)
        seen = mask[:, 0, 0] if mask is not None else tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        tokens, seen = tokens[:, self.skipped :], seen[:, self.skipped :]
        count, longest, width = tokens.shape
        if not longest:
            return tokens.new_zeros(count, self.place, width), tokens
        length = seen.sum(1, keepdim=True, dtype=torch.promote_types(tokens.dtype, torch.float32))  # (B, 1)
        stretch = ((length - 1) / max(1, self.place - 1)).clamp(min=1)
        centre = torch.arange(self.place, device=tokens.device) * stretch  # (B, R)
        away = centre.unsqueeze(-1) - torch.arange(longest, device=tokens.device)  # (B, R, T)
        scores = self.queries.to(tokens.dtype) @ tokens.transpose(1, 2) * width**-0.5
        scores = scores - SHARPNESS * (away / stretch.unsqueeze(-1)).square()
        weights = scores.masked_fill(~seen.unsqueeze(1), torch.finfo(scores.dtype).min).softmax(-1)
        written = weights.to(tokens.dtype) @ tokens * (centre < length).unsqueeze(-1)
        return written, tokens.new_empty(count, 0, width)

    def forward(self, memory: Tensor, mean: Tensor | None, source: KeyValue, mask: Tensor | None) -> Tensor:
        newest, _ = self.take_in(source, mask)
        return torch.cat((newest.to(memory.dtype), memory[:, : -self.place]), 1)
