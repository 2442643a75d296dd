"""Answers out of all tokens that were encoded before: as each turn alone would find them, whatever is in the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import OPTIM, RUN, assert_same_gradients, gradients, quiet, random_conversations
from test_unroll import PLAIN, VOCABULARY, make
from torch import Tensor

from rxt.config import RxTConfig
from rxt.data.collate import collate_conversations
from rxt.data.template import Encoded
from rxt.errors import UserError
from rxt.generation.scoring import AnswerScores
from rxt.model.reactive import ReactiveTransformer
from rxt.training.config import RunConfig
from rxt.training.pipeline import train
from rxt.training.stages.memory_aware import Phase
from rxt.training.stages.retrieval import READERS, RetrievalConfig
from rxt.training.transcript import transcript_scores

MODELS = {
    "plain": PLAIN,
    "slots without a norm": replace(PLAIN, decoder=replace(PLAIN.decoder, slot_norm=False)),
    "begins with zeros": replace(PLAIN, memory_init="zeros", memory_attention=replace(PLAIN.memory_attention, slots=1)),
}
RETRIEVAL = RetrievalConfig(
    phases=(Phase(3, 4, 4, READERS, random_pieces=6, random_share=0.5, within_share=0.5, shortest=2),),
    optim=replace(OPTIM, accumulate=2),
)


def naive(model: ReactiveTransformer, conversations: list[list[Encoded]], slots: Tensor) -> Tensor:
    """One conversation at a time, one turn at a time: −log p of every target, summed."""
    total = slots.new_zeros(())
    for index, conversation in enumerate(sorted(conversations, key=len, reverse=True)):
        memory = slots[:, index : index + 1]
        for interaction in conversation:
            ids = torch.tensor([interaction.ids])
            logits = model.decoder(ids, memory)[0].log_softmax(-1)
            for at in range(1, ids.shape[1]):
                if interaction.loss[at]:
                    total = total - logits[at - 1, ids[0, at]]
            memory = torch.cat((memory, model.memory_attention.normed(model.encoder(ids))), 2)
    return total


def scored(config: RxTConfig, turns: list[int]) -> tuple[ReactiveTransformer, AnswerScores, Tensor]:
    model, conversations = make(config), random_conversations(turns, VOCABULARY)
    batch = collate_conversations(conversations, pad=0)
    layers, count, width = config.memory_shape
    slots = torch.randn(layers, batch.size, count, width, dtype=torch.double)
    return model, transcript_scores(model, batch, slots), naive(model, conversations, slots)


@pytest.mark.parametrize("turns", [[3, 1, 5, 3, 2], [4], [1, 1]], ids=["uneven", "one conversation", "one turn"])
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_all_at_once_is_turn_by_turn(config: RxTConfig, turns: list[int]) -> None:
    model, scores, expected = scored(config, turns)
    torch.testing.assert_close(scores.nll.sum(), expected, rtol=1e-11, atol=1e-11)
    assert_same_gradients(gradients(scores.nll.sum(), model), gradients(expected, model))


def test_slots_that_are_all_zeros_stand_for_each_other() -> None:
    many = replace(MODELS["begins with zeros"], memory_attention=replace(PLAIN.memory_attention, slots=5))
    model, conversations = make(many), random_conversations([3, 2], VOCABULARY)
    batch = collate_conversations(conversations, pad=0)
    slots = torch.zeros(2, batch.size, 5, 8, dtype=torch.double)
    found = transcript_scores(model, batch, slots).nll.sum()
    torch.testing.assert_close(found, naive(model, conversations, slots[:, :, :1]), rtol=1e-11, atol=1e-11)


def run(**changes: object) -> RunConfig:
    return replace(RUN, stages=(RETRIEVAL, RUN.stages[-1]), **changes)  # type: ignore[arg-type]


def test_the_stage_trains_before_the_memory_does(tmp_path: Path) -> None:
    model = train(run(), tmp_path / "run", quiet())
    assert (model / "model.safetensors").is_file()
    lines = (tmp_path / "run" / "3-retrieval" / "metrics.jsonl").read_text()
    assert lines.count('"split": "train"') == 3
    assert "out of all tokens before" in RETRIEVAL.summary().loss


def test_an_encoder_that_reads_memory_is_one_line() -> None:
    reads = replace(RUN.model, encoder=replace(RUN.model.encoder, cross_attention=RUN.model.encoder.self_attention))
    with pytest.raises(UserError, match="retrieval is for encoders that read no memory, so leave the stage out"):
        run(model=reads)


def test_only_a_new_model_begins_able_to_copy() -> None:
    with pytest.raises(UserError, match=r"copies needs decoder\.self_attention with input_bias"):
        run(copies=True)
