"""What a plan counts of the micro run's stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from micro import MODEL, OPTIM, RUN, tokenizer
from torch._subclasses.fake_tensor import FakeTensorMode

from rxt.config import RxTConfig
from rxt.training.config import RunConfig
from rxt.training.config_base import RateFactor
from rxt.training.plan.learners import learner_of, new_learner
from rxt.training.plan.state import State, states
from rxt.training.plan.updates import Updates, updates_of

TOKENS = MODEL.max_length
MUON = replace(OPTIM, kind="muon", rates=(RateFactor("memory_attention.*gate.*", 0.1),))


def micro_run(model: RxTConfig) -> RunConfig:
    """The micro run whose tokenizer has as many words as the tests'."""
    words = replace(RUN.tokenizer, vocab_size=tokenizer().vocab_size)
    return replace(RUN, model=model, tokenizer=words)


def counted(config: Any, model: RxTConfig = MODEL) -> tuple[list[Updates], list[State]]:
    """What a plan knows of a stage."""
    with FakeTensorMode():
        fake = learner_of(config, new_learner(micro_run(model)))
        found = updates_of(config, fake, TOKENS)
        return found, states(config, config.optim, fake, found)
