"""What the stages of a run train, of fake tensors: made as they are made for training, without any numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rxt.model.classifier import SequenceClassifier
from rxt.model.decoder import DecoderLayer
from rxt.model.encoder import Encoder
from rxt.model.grow import adapt_layer
from rxt.model.reactive import ReactiveTransformer
from rxt.training import patterns
from rxt.training.config import RunConfig
from rxt.training.config_base import StageConfig
from rxt.training.learner import GrownLearner, Learner, ReactiveLearner
from rxt.training.plan.counting import countable
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.stages.joint import LanguageConfig


class PolicyLearner(Learner):
    """What stage 5 trains: the run's model, and a critic where there is one. Its frozen reference is no part of it."""

    def __init__(self, learner: ReactiveLearner, with_critic: bool) -> None:
        super().__init__(learner.vocab_size)
        self.model = learner.model
        self.critic = new_critic(learner.model) if with_critic else None

    def learn_only(self, chosen: Sequence[str]) -> None:
        """Let only the model's parameters learn that the patterns choose, and the critic."""
        patterns.learn_only(self.model, chosen)
        if self.critic is not None:
            self.critic.requires_grad_(True)


def new_critic(model: ReactiveTransformer) -> SequenceClassifier:
    """A critic with an encoder of its own, as the model's is."""
    decoder, encoder = model.config.decoder, model.encoder
    if isinstance(encoder, Encoder):
        encoder = Encoder(encoder.config, nn.Embedding(decoder.vocab_size, decoder.width))
    return SequenceClassifier(encoder, 1)


def new_learner(run: RunConfig) -> ReactiveLearner | GrownLearner:
    """What a run trains. Its vocabulary is the largest that the tokenizer may have, unless its weights or its base
    decide that."""
    config = run.model
    if config.base is None and run.start is None:
        config = config.with_vocabulary(run.tokenizer.vocab_size, config.tokens)
    model = ReactiveTransformer(config)
    if config.base is not None and config.base.adapter_rank:
        for layer in model.decoder.layers[config.decoder.reading[0] :]:
            assert isinstance(layer, DecoderLayer)
            adapt_layer(layer, config.base.adapter_rank)
    countable(model)
    return GrownLearner(model) if run.adapts else ReactiveLearner(model)


def learner_of(stage: StageConfig, learner: ReactiveLearner | GrownLearner) -> Learner:
    """What a stage trains, out of the run's learner."""
    if isinstance(stage, ReinforcementConfig) and isinstance(learner, ReactiveLearner):
        return PolicyLearner(learner, stage.has_critic)
    return learner


def learn_only(stage: StageConfig, chosen: tuple[str, ...], learner: Learner) -> None:
    """Let the parameters learn that do in a stage, and the MLM head with them where it does."""
    if isinstance(learner, ReactiveLearner):
        learner.learn_only(chosen, isinstance(stage, LanguageConfig))
    elif isinstance(learner, GrownLearner | PolicyLearner):
        learner.learn_only(chosen)
