"""The baselines: batched is single, the walk is the training's forward pass, and what each keeps is what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factories import draw_matrices, tiny_config, tiny_tokenizer
from rxt.baselines.config import BaselineConfig, BaselineKind
from rxt.baselines.decoder_only import parameter_count
from rxt.baselines.model import Baseline, baseline_like
from rxt.baselines.subjects import CarriesMemory, ReadsHistory, continue_greedily, load_any
from rxt.config import (
    RxTConfig,
)
from rxt.data.collate import collate_conversations, collate_rows
from rxt.data.records import Interaction
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.evaluation.subject import Subject, as_rows
from rxt.evaluation.walk import walk
from rxt.model.parameters import parameter_counts
from rxt.training.stages.baseline import baseline_scores, one_row_each

KINDS: tuple[BaselineKind, ...] = ("history", "no-memory", "recurrent")
MODEL = tiny_config()
TOKENIZER = tiny_tokenizer()
TEMPLATE = Template(TOKENIZER, "alpha", MODEL.max_length)
CHATS = [
    [("my name is Ann", "hello Ann"), ("hello", "how are you"), ("who am I?", "Ann")],
    [("hi there", "hello there")],
    [("I live in Graz", "Graz"), ("where do I live?", "in Graz")],
]
ENCODED = [[TEMPLATE.interaction(Interaction(*turn)) for turn in chat] for chat in CHATS]


def make(kind: BaselineKind, seed: int = 0) -> Baseline:
    torch.manual_seed(seed)
    config = baseline_like(MODEL.with_vocabulary(TOKENIZER.vocab_size, TOKENIZER.tokens), kind, trained_turns=3)
    model = Baseline(config).double().eval()
    draw_matrices(model, 0.3)
    return model


def subject_of(model: Baseline, budget: int | None = None) -> Subject:
    match model.config.baseline:
        case "history":
            return ReadsHistory(model, TEMPLATE, budget)
        case "no-memory":
            return ReadsHistory(model, TEMPLATE, 0)
        case "recurrent":
            return CarriesMemory(model, TEMPLATE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_is_of_the_models_size(kind: BaselineKind) -> None:
    for preset in ("pocket", "rxt-alpha-nano"):
        config = RxTConfig.preset(preset)
        like = baseline_like(config, kind)
        wanted = parameter_counts(config).total
        layer = parameter_count(replace(like.decoder, layers=2)) - parameter_count(replace(like.decoder, layers=1))
        assert abs(parameter_count(like.decoder) - wanted) <= layer / 2 + 1
        assert like.memory_tokens == (config.memory_attention.slots if kind == "recurrent" else 0)


@torch.no_grad()
def test_a_recurrent_batch_is_its_rows_alone() -> None:
    model = make("recurrent")
    rows = collate_rows([turns[0] for turns in ENCODED], TOKENIZER.tokens.pad)
    memory = model.start(3) + torch.randn(3, 6, 32).double()
    together = model.turn(rows, memory)
    for row in range(3):
        alone = model.turn(rows[row : row + 1], memory[row : row + 1])
        length = alone.hidden.states.shape[1]
        torch.testing.assert_close(together.memory[row : row + 1], alone.memory)
        torch.testing.assert_close(together.hidden.states[row : row + 1, :length], alone.hidden.states)


@torch.no_grad()
def test_a_recurrent_turn_is_one_causal_sequence() -> None:
    """The naive twin: memory, one interaction, write tokens, one after another through the plain layers."""
    model = make("recurrent")
    ids = torch.tensor([ENCODED[0][0].ids])
    rows = collate_rows([ENCODED[0][0]], 0)
    memory = model.start(1)
    x = torch.cat([memory, model.decoder.embedding(ids), model.write_tokens[None]], dim=1)
    states = model.decoder.run(x, torch.arange(x.shape[1])).states
    found = model.turn(rows, memory)
    torch.testing.assert_close(found.hidden.states, states[:, 6:-6])
    torch.testing.assert_close(found.memory, states[:, -6:])


def test_the_gradient_of_a_late_answer_reaches_the_first_turn() -> None:
    model = make("recurrent")
    batch = collate_conversations(ENCODED[:1], TOKENIZER.tokens.pad)
    seen: list[torch.Tensor] = []
    turn = model.turn

    def watched(rows, memory):
        result = turn(rows, memory)
        result.memory.retain_grad()
        seen.append(result.memory)
        return result

    model.turn = watched
    scores = baseline_scores(model, batch)
    scores.nll[scores.turn == 2].sum().backward()
    assert seen[0].grad is not None
    assert seen[0].grad.abs().sum() > 0


def test_conversations_become_rows_one_interaction_after_another() -> None:
    batch = collate_conversations(ENCODED, TOKENIZER.tokens.pad)
    rows, turns = one_row_each(batch)
    longest_first = sorted(ENCODED, key=len, reverse=True)
    for row, chat in enumerate(longest_first):
        ids = [token for turn in chat for token in turn.ids]
        loss = [learned for turn in chat for learned in turn.loss]
        assert rows.ids[row, : len(ids)].tolist() == ids
        assert rows.targets[row, : len(ids)].tolist() == loss
        assert rows.mask[row].tolist() == [True] * len(ids) + [False] * (rows.ids.shape[1] - len(ids))
        assert turns[row, : len(ids)].tolist() == [index for index, turn in enumerate(chat) for _ in turn.ids]
        assert not rows.targets[row, len(ids) :].any()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_scores_are_those_of_what_a_chat_would_see(kind: BaselineKind) -> None:
    """Training's scores of every answer token, against each answer read alone behind what its subject has kept."""
    model = make(kind)
    scores = baseline_scores(model, collate_conversations(ENCODED, TOKENIZER.tokens.pad))
    wanted: list[tuple[int, float]] = []
    subject = subject_of(model)
    for chat in ENCODED:
        state = subject.start(1, 0)
        for index, turn in enumerate(chat):
            states = context_states(model, state, turn)
            logs = model.decoder.head(states).log_softmax(-1)
            wanted += [(index, -logs[at - 1, turn.ids[at]].item()) for at in range(1, len(turn.ids)) if turn.loss[at]]
            state = subject.remember(state, [turn.ids])
    found = sorted(zip(scores.turn.tolist(), scores.nll.tolist(), strict=True))
    for (turn, nll), (wanted_turn, wanted_nll) in zip(found, sorted(wanted), strict=True):
        assert turn == wanted_turn
        assert nll == pytest.approx(wanted_nll, abs=1e-9)


def context_states(model: Baseline, state: object, turn: Encoded) -> torch.Tensor:
    """States (T, D) of one interaction behind one conversation's state."""
    embedding = model.decoder.embedding
    if isinstance(state, torch.Tensor):
        before = state
    else:
        assert isinstance(state, tuple)
        before = embedding(torch.tensor([state[0]], dtype=torch.long))
    x = torch.cat([before, embedding(torch.tensor([turn.ids]))], dim=1)
    return model.decoder.run(x, torch.arange(x.shape[1])).states[0, before.shape[1] :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_is_its_conversations_alone(kind: BaselineKind) -> None:
    subject = subject_of(make(kind))
    asked = [[query for query, _ in chat] for chat in CHATS]
    together = walk(subject, asked, seed=0, max_new_tokens=8).answers
    assert together == tuple(walk(subject, [queries], seed=0, max_new_tokens=8).answers[0] for queries in asked)


@torch.no_grad()
def test_greedy_continuations_are_the_forward_passes_own() -> None:
    model = make("history")
    decoder = model.decoder
    prompts = [TEMPLATE.prompt(query) for query in ("hello", "where do I live, and who am I?")]
    ids, mask = as_rows(prompts, TEMPLATE)
    for prompt, said in zip(prompts, continue_greedily(decoder, decoder.embedding(ids), mask.sum(1), 9), strict=True):
        text = list(prompt)
        for token in said:
            assert decoder(torch.tensor([text]))[0, -1].argmax().item() == token
            text.append(token)
        assert len(said) == 9 or said[-1] == TOKENIZER.tokens.eos


def test_what_is_read_again_can_be_cut() -> None:
    model = make("history")
    whole, cut, nothing = (ReadsHistory(model, TEMPLATE, budget) for budget in (None, 5, 0))
    said = [turn.ids for turn in ENCODED[0]]
    states = []
    for subject in (whole, cut, nothing):
        state = subject.start(1, 0)
        for ids in said:
            state = subject.remember(state, [ids])
        states.append(state[0])
    everything = tuple(token for ids in said for token in ids)
    assert states == [everything, everything[-5:], ()]
    assert nothing.state_bytes((states[2],)) == 0
    per_token = cut.state_bytes((states[1],)) / 5
    assert whole.state_bytes((everything,)) == per_token * len(everything)
    assert per_token == model.config.decoder.layers * 2 * 2 * 8 * 8, "keys and values of two heads of eight, in float64"


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_holds_a_baseline(kind: BaselineKind, tmp_path: Path) -> None:
    model = make(kind).float()
    model.save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path / "tokenizer.json")
    found = load_any(tmp_path)
    assert found.trained_turns == 3
    asked = [[query for query, _ in chat] for chat in CHATS]
    assert walk(found, asked, 0, 6).answers == walk(subject_of(model), asked, 0, 6).answers
    with pytest.raises(UserError, match="has no memory that is updated"):
        load_any(tmp_path, updates="bfloat16")
    if kind == "history":
        cut = load_any(tmp_path, history_tokens=7)
        assert isinstance(cut, ReadsHistory)
        assert cut.budget == 7
    else:
        with pytest.raises(UserError, match="reads its history"):
            load_any(tmp_path, history_tokens=7)


def test_a_models_history_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the bundled model: has a memory and reads no history"):
        load_any(None, history_tokens=3)
    with pytest.raises(UserError, match="no such folder"):
        load_any(tmp_path / "nothing")


def test_a_configuration_says_what_is_wrong() -> None:
    config = make("recurrent").config
    with pytest.raises(UserError, match="memory_tokens go with the recurrent one, found 6 for history"):
        replace(config, baseline="history")
    with pytest.raises(UserError, match=r"config\.json: decoder: field required"):
        BaselineConfig.from_dict({"baseline": "recurrent", "memory_tokens": "many"}, "config.json")
