"""Drawing many answers with their log-probabilities is drawing each alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from factories import chat_model, linear_head
from rxt.errors import UserError
from rxt.generation.scored import draw, generate_scored
from rxt.pretrained import ReactiveTransformer

ROWS = 40


def ending_soon(model: ReactiveTransformer) -> ReactiveTransformer:
    """[EOS] is likely, so rows end one after another."""
    with torch.no_grad():
        linear_head(model.decoder).weight *= 0.1
        linear_head(model.decoder).bias[model.config.tokens.eos] += 4
    return model


def prompts(lengths: list[int], pad: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(10, 300, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return ids.masked_fill(~mask, pad), mask


def test_each_token_has_the_log_probability_of_the_plain_decoder() -> None:
    model = ending_soon(chat_model())
    limit = model.config.max_length
    lengths = [3 + row % 7 for row in range(ROWS - 2)] + [limit - 1, limit - 3]
    ids, mask = prompts(lengths, model.config.tokens.pad)
    memory = model.init_memory(ROWS, 2)
    found = generate_scored(model, ids, memory, 14, 0.8, seed=4, mask=mask)
    counts = (found.tokens >= 0).sum(1)
    assert len(set(counts.tolist())) > 5, "rows end at different steps"
    for row, length in enumerate(lengths):
        said = found.tokens[row][: int(counts[row])]
        assert (found.tokens[row][len(said) :] == -1).all()
        assert (found.log_probabilities[row][len(said) :] == 0).all()
        assert not (said[:-1] == model.config.tokens.eos).any(), "nothing after the end"
        ended = int(said[-1]) == model.config.tokens.eos
        assert ended or len(said) == min(14, limit - length)
        whole = torch.cat([ids[row, :length], said])[None]
        with torch.no_grad():
            scores = (model.decode(whole, memory.select(row))[0] / 0.8).log_softmax(-1)
        expected = scores[length - 1 : -1].gather(-1, said[:, None])[:, 0]
        torch.testing.assert_close(found.log_probabilities[row][: len(said)], expected, rtol=1e-4, atol=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    scores = torch.tensor([0.5, 0.0, 0.2, 0.3]).log().expand(20_000, -1)
    counts = torch.bincount(draw(scores, torch.Generator().manual_seed(0)), minlength=4) / 20_000
    assert counts.tolist() == pytest.approx([0.5, 0.0, 0.2, 0.3], abs=0.015)
    assert counts[1] == 0, "what cannot be is never drawn"


def test_a_seed_repeats() -> None:
    model = chat_model()
    ids, mask = prompts([4, 6], model.config.tokens.pad)
    first, same, other = (
        generate_scored(model, ids, model.init_memory(2, 1), 6, 1.0, seed, mask).tokens for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_what_cannot_be_drawn() -> None:
    model = chat_model()
    full = torch.full((1, model.config.max_length), 11)
    memory = model.init_memory(1, 1)
    with pytest.raises(UserError, match="no room for an answer"):
        generate_scored(model, full, memory, 4, 1.0, seed=0)
    with pytest.raises(UserError, match="temperature must be above 0"):
        generate_scored(model, full[:, :3], memory, 4, 0.0, seed=0)
    with pytest.raises(UserError, match="1 prompts need as many memories, found 2"):
        generate_scored(model, full[:, :3], model.init_memory(2, 1), 4, 1.0, seed=0)
