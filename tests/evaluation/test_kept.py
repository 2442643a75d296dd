"""What a base has kept: its own answers, scored by itself and out of memories."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from factories import tiny_config, tiny_model, tiny_tokenizer
from rxt.config import AttentionConfig, BaseModel, DecoderConfig, FeedForwardConfig
from rxt.config.on_base import memory_on
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.kept import measure_kept, score_kept
from rxt.generation.own_words import before, own_interactions
from rxt.model.decoder import Decoder
from rxt.model.grow import grow, silenced
from rxt.model.reactive import ReactiveTransformer


def grown(scale: float = 1.0) -> ReactiveTransformer:
    tokenizer = tiny_tokenizer()
    attention = AttentionConfig(4, 4, 2, output_bias=False)
    config = DecoderConfig(
        tokenizer.vocab_size, 16, 3, attention, attention, FeedForwardConfig(24), 48, memory_layers=()
    )
    torch.manual_seed(0)
    decoder = Decoder(config, torch.nn.Embedding(config.vocab_size, 16)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2)
    whole = replace(memory_on(config, BaseModel("tiny", "0"), (1, 2), 4), memory_init="learned")
    model = grow(decoder, whole, ReactiveTransformer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("read_scale"):
                parameter.fill_(scale)
        assert model.fresh_memory is not None
        model.fresh_memory.mul_(10)  # a fresh memory is quiet, and here it is to be heard
    return model


def template() -> Template:
    return Template(tiny_tokenizer(), "alpha", 48)


def test_the_bases_words_do_not_depend_on_the_memory_and_are_its_likeliest() -> None:
    made = own_interactions(grown(), template(), 6, seed=3, longest=8)
    assert len(made) == 6
    assert made == own_interactions(grown(scale=0.0), template(), 6, seed=3, longest=8)
    assert made != own_interactions(grown(), template(), 6, seed=4, longest=8)
    model, tokens = grown(), template().tokens
    for each in made:
        assert tokens.answer is not None
        answer = each.ids.index(tokens.answer) + 1
        assert each.ids[:2] == [tokens.bos, tokens.query]
        assert each.loss[:answer] == [False] * answer
        with silenced(model):
            logits = model.decode(torch.tensor([each.ids]), model.init_memory())[0]
        learned = [at for at, wanted in enumerate(each.loss) if wanted]
        assert learned
        assert logits.argmax(-1)[[at - 1 for at in learned]].tolist() == [each.ids[at] for at in learned]


def test_a_silent_memory_changes_nothing_and_one_that_is_heard_does() -> None:
    model = grown(scale=0.0)
    found = measure_kept(model, template(), count=5, seed=3)
    assert found.rise == found.rise_remembering == 0.0
    heard = measure_kept(grown(), template(), count=5, seed=3)
    assert heard.base == found.base
    assert heard.rise > 0.01
    assert heard.rise_remembering != heard.rise
    assert heard.rise == pytest.approx(math.exp(heard.fresh) / math.exp(heard.base) - 1)


@torch.no_grad()
def test_the_score_is_the_mean_over_the_answers_tokens() -> None:
    model, made = grown(), own_interactions(grown(), template(), 3, seed=3, longest=8)
    found, expected = score_kept(model, template(), made), list[float]()
    for each in made:
        logs = model.decode(torch.tensor([each.ids]), model.init_memory())[0].log_softmax(-1)
        expected += [-float(logs[at - 1, each.ids[at]]) for at, wanted in enumerate(each.loss) if wanted]
    assert found.tokens == len(expected)
    assert found.fresh == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_silence_ends() -> None:
    model, ids = grown(), torch.tensor([[1, 5, 6]])
    loud = model.decode(ids, model.init_memory())
    with silenced(model):
        assert not torch.equal(model.decode(ids, model.init_memory()), loud)
    assert torch.equal(model.decode(ids, model.init_memory()), loud)


def test_where_a_question_ends() -> None:
    assert before([4, 5, 6, 7], (6, 7)) == [4, 5]
    assert before([4, 5, 6], (6, 7)) == [4, 5]
    assert before([6, 4, 6, 7], (6, 7)) == [6, 4]
    assert before([4, 5], (6, 7)) == [4, 5]


def test_a_model_without_a_base() -> None:
    with pytest.raises(UserError, match="not built on a pre-trained one"):
        measure_kept(tiny_model(tiny_config()), template())
