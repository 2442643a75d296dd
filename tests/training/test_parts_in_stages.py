"""MRL and DMPO where a model replies in parts: what it thinks, decides and calls is drawn, judged and learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from micro import OPTIM, quiet

from factories import scripted_model, tiny_config, tiny_tokenizer
from rxt.data.collate import Ways, collate_preferences
from rxt.data.records import Interaction
from rxt.data.template import Mode, Template
from rxt.errors import UserError
from rxt.generation.sampling import Sampling
from rxt.tasks.hybrid.questions import Calling, HybridQuestion
from rxt.tools.tool import Tool, call_text
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import RecallConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.pipeline import train
from rxt.training.preference.config import PreferenceConfig
from rxt.training.preference.own_answers import with_own_answers
from rxt.training.reinforcement.config import EpisodePhase, GroupConfig, ReinforcementConfig
from rxt.training.reinforcement.episodes import Step
from rxt.training.reinforcement.rewards import RecallReward
from rxt.training.reinforcement.rollout import Rollout, play
from rxt.training.stages.joint import JointConfig
from rxt.training.unroll import conversation_memories
from scripted_chat import ids

MODEL, TOKENIZER, HEAD = scripted_model(400)
TEMPLATE = Template.of_model(MODEL.config, TOKENIZER)
WEATHER = Tool("weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CALL, WRONG = (call_text("weather", {"city": city}) for city in ("Graz", "Oslo"))
TOLD = Interaction("I live in Graz.", "Okay.")
ASKED = Interaction("How warm is it here?", "", think="city Graz", tool_call=CALL)
QUESTION = HybridQuestion(1, 0, "call", None, calling=Calling(WEATHER, {"city": "Graz"}, "14 degrees"))
PHASE = EpisodePhase(steps=1, turns=2, batch_size=1)
THOUGHT = "<think>city Graz<answer>"


def rollout(says: str, mode: Mode, price: float = 0.0) -> Rollout:
    config = ReinforcementConfig(
        phases=(PHASE,), algorithm="impo", mode=mode, longest_answer=300, thinking_price=price, reward="recall"
    )
    episode = [
        Step(TEMPLATE.interaction(TOLD), TOLD, False),
        Step(TEMPLATE.interaction(ASKED), ASKED, True, QUESTION),
    ]
    HEAD.follow([*ids(says), *[TEMPLATE.tokens.eos] * 16])
    return play(MODEL, TEMPLATE, [episode], MODEL.init_memory(1, 0).slots, config, False, RecallReward(), 0).rollout


@pytest.mark.parametrize(
    ("says", "mode", "earned"),
    [
        (f"{THOUGHT}<tool_call>{CALL}<eos>", "auto", 10.0),
        (f"{THOUGHT}<tool_call>{WRONG}<eos>", "auto", 0.0),
        (f"<answer><tool_call>{CALL}<eos>", "auto", 10.0),
        (f"<answer>I will look.<tool_call>{CALL}<eos>", "auto", 10.0),
        ("<answer>It is 14 degrees.<eos>", "auto", 0.0),
        (f"I call<tool_call>{CALL}<eos>", "auto", 0.0),
        (f"city Graz<answer><tool_call>{CALL}<eos>", "thinking", 10.0),
        (f"<tool_call>{CALL}<eos>", "fast", 10.0),
    ],
)
def test_a_reply_is_rewarded_by_its_call_and_all_of_it_is_learned(says: str, mode: Mode, earned: float) -> None:
    found = rollout(says, mode)
    assert found.rewards.tolist() == [earned]
    prompt = TEMPLATE.prompt(ASKED.query, mode=mode)
    answer = found.answers.ids[0][found.answers.mask[0]].tolist()
    assert answer == [*prompt, *ids(says)]
    assert found.answers.targets[0].nonzero()[:, 0].tolist() == list(range(len(prompt), len(answer)))
    assert len(found.log_probabilities) == len(ids(says))
    memorized = found.said.rows.ids[1][found.said.rows.mask[1]].tolist()
    assert memorized == answer, "thinking and call included"


def test_thinking_has_its_price() -> None:
    price, thought = 0.1, len(ids("city Graz"))
    for says, mode in (
        (f"{THOUGHT}<tool_call>{CALL}<eos>", "auto"),
        (f"city Graz<answer><tool_call>{CALL}<eos>", "thinking"),
    ):
        assert rollout(says, mode, price).rewards.tolist() == pytest.approx([10 - price * thought])  # type: ignore[arg-type]
    assert rollout(f"<answer><tool_call>{CALL}<eos>", "auto", price).rewards.tolist() == [10.0]
    assert rollout(f"{THOUGHT}<tool_call>{WRONG}<eos>", "auto", price).rewards.tolist() == [0.0], "never below 0"


@pytest.mark.parametrize(
    ("says", "wrong"), [(f"{THOUGHT}<tool_call>{CALL}<eos>", 0), (f"{THOUGHT}<tool_call>{WRONG}<eos>", 1)]
)
def test_the_policys_own_wrong_calls_are_rejected_with_their_thinking(says: str, wrong: int) -> None:
    evasive = Interaction(ASKED.query, "I don't know.")
    ways = [
        Ways(TEMPLATE.interaction(TOLD)),
        Ways(*(TEMPLATE.interaction(way) for way in (ASKED, evasive)), question=QUESTION),
    ]
    batch = collate_preferences([ways], TEMPLATE.tokens.pad)
    memories = conversation_memories(MODEL, batch.accepted, MODEL.init_memory(1, 0).slots)
    HEAD.follow([*ids(says), *[TEMPLATE.tokens.eos] * 16])
    found, own = with_own_answers(MODEL, TEMPLATE, batch, memories, Sampling(), longest=300)
    assert own == wrong
    row = found.answers.ids[1][found.answers.mask[1]].tolist()
    prompt = TEMPLATE.prompt(ASKED.query, mode="auto")
    if not wrong:
        assert row == TEMPLATE.interaction(evasive).ids
        return
    assert row == [*prompt, *ids(says)]
    assert found.answers.targets[1].nonzero()[:, 0].tolist() == list(range(len(prompt), len(row)))


def test_a_template_without_parts_is_refused() -> None:
    config = ReinforcementConfig(phases=(PHASE,), mode="auto")
    with pytest.raises(UserError, match="mode must be fast with the alpha template, found auto"):
        config.check(tiny_config(), None)
    config.check(tiny_config(tokens=tiny_tokenizer("beta").tokens), None)


def test_both_stages_train_on_hybrid_conversations(tmp_path: Path) -> None:
    recall = RecallConfig(every=5, distances=(1,), questions=1, special=0, max_score_drop=1.0, keep="last")
    tokens = tiny_tokenizer("beta").tokens
    run = RunConfig(
        name="parts",
        model=tiny_config(700, width=16, layers=1, slots=4, max_length=320, hidden=24, tokens=tokens),
        tokenizer=TokenizerConfig(vocab_size=700, conversations=30),
        stages=(
            JointConfig(steps=0, batch_size=2, optim=OPTIM),
            ReinforcementConfig(
                phases=(EpisodePhase(steps=1, turns=6, batch_size=2, teacher_forcing=True),),
                optim=OPTIM,
                mode="auto",
                longest_answer=12,
                group=GroupConfig(answers=2),
                recall=recall,
            ),
            PreferenceConfig(
                steps=1, turns=6, batch_size=2, optim=OPTIM, own_temperature=0.7, own_longest=12, recall=recall
            ),
        ),
        data=DataConfig((TaskSource("hybrid"),)),
        log_every=1,
        validation_batches=1,
    )
    torch.manual_seed(0)
    train(run, tmp_path / "run", quiet())
    lines = (tmp_path / "run" / "5-preference" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line).get("own", 0.0) for line in lines) == 1.0, "a random model is never right"
