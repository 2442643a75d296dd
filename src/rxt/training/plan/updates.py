"""What an update of each stage costs: how often it makes each of the computations that are counted in ``pieces``.

All is an upper bound: every interaction is as long as it may be, every conversation has all its turns, all of an answer
is a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rxt.errors import UserError
from rxt.training.config_base import StageConfig
from rxt.training.learner import GrownLearner, ReactiveLearner
from rxt.training.plan.counting import BFLOAT16, Cost
from rxt.training.plan.learners import PolicyLearner, learn_only
from rxt.training.plan.pieces import (
    Turn,
    every_text,
    every_turn,
    every_turn_on_base,
    hidden_tokens,
    memory_target,
    most_targets,
    sampled_answer,
    transcript,
    value,
)
from rxt.training.preference.config import PreferenceConfig
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.stages.adaptation import AdaptationConfig
from rxt.training.stages.fragments import FragmentsConfig, FragmentsPhase
from rxt.training.stages.interaction import InteractionConfig
from rxt.training.stages.joint import LENGTH_GROUPS, JointConfig, LanguageConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.memory_pretrain import MemoryPretrainConfig
from rxt.training.stages.retrieval import RetrievalConfig


@dataclass(frozen=True)
class Updates:
    """Some updates of a stage that are alike."""

    name: str
    """As ``--set`` addresses them."""
    steps: int
    batch_size: int
    """Rows, or conversations."""
    turns: int | None
    """Of a conversation; None for rows that stand alone."""
    tokens: int
    """Of a row or a conversation, all its turns together."""
    trains: tuple[str, ...]
    cost: Cost
    """Of one row or conversation."""
    least_parts: int = 1
    """Micro-batches that the stage makes at least."""
    checkpointing: bool = False
    """Whether ``cost`` is that of one turn's activations at a time."""
    cheaper: Cost | None = None
    """The same with checkpointing, where the stage can have it and has not."""


def updates_of(stage: StageConfig, learner: Any, tokens: int) -> list[Updates]:
    """The updates of a stage on a learner of fake tensors, whose interactions have ``tokens`` tokens.

    Raises:
        UserError: nothing is known of such a stage.
    """
    for kind, count in _COUNTS.items():
        if isinstance(stage, kind):
            return count(stage, learner, tokens)
    raise UserError(f"--plan: what a stage {stage.kind} costs is not known; --set {stage.kind}=null leaves it out")


def language(config: LanguageConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Stages 1 and 2."""
    trains = ("decoder", "encoder")
    learn_only(config, trains, learner)
    text = every_text(learner.model, learner.mlm_head, tokens)
    guesses, targets = hidden_tokens(tokens, config.masked_share), most_targets(tokens)
    cost = text.encode + text.guess * guesses + text.decode + text.answer * targets
    return [Updates(config.kind, config.steps, config.batch_size, None, tokens, trains, cost, LENGTH_GROUPS)]


def memory_pretrain(config: MemoryPretrainConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Stage 3. The graph is cut between turns, but the losses of all turns go backward together."""
    trains = ("memory_attention",)
    learn_only(config, trains, learner)
    cost = memory_target(learner.model, tokens) * config.turns
    return [
        Updates(config.kind, config.steps, config.batch_size, config.turns, config.turns * tokens, trains, cost),
    ]


def retrieval(config: RetrievalConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Before memory is learned: every turn sees as many tokens as the last one."""
    found = list[Updates]()
    for name, phase in named_phases(config.kind, config.phases):
        learn_only(config, phase.trains, learner)
        whole = transcript(learner.model, phase.turns, tokens)
        turn = whole.read + whole.decode + whole.answer * most_targets(tokens)
        found.append(of_phase(name, phase, tokens, turn * phase.turns + whole.project))
    return found


def memory_aware(config: MemoryAwareConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Stage 4."""
    known = dict[tuple[str, ...], Turn]()
    walks = learner.model.encoder.reads_memory or learner.model.config.memory_attention.norm.kind == "ema-rms"
    found = list[Updates]()
    for name, phase in named_phases(config.kind, config.phases):
        if phase.trains not in known:
            learn_only(config, phase.trains, learner)
            known[phase.trains] = every_turn(learner.model, tokens)
        turn = known[phase.trains]
        plain = conversation(turn, phase.turns, tokens, config.window, walks)
        again = checkpointed(turn, phase.turns, tokens, config.window)
        possible = learner.model.config.memory_attention.norm.kind != "ema-rms"
        found.append(
            Updates(
                name,
                phase.steps,
                phase.batch_size,
                phase.turns,
                phase.turns * tokens,
                phase.trains,
                again if config.checkpointing else plain,
                checkpointing=config.checkpointing,
                cheaper=again if possible and not config.checkpointing else None,
            )
        )
    return found


def fragments(config: FragmentsConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Stage 4 with a pool: each turn's prompt is read once more, to be routed."""
    found = list[Updates]()
    for name, phase in named_phases(config.kind, config.phases):
        learn_only(config, phase.trains, learner)
        turn = every_turn(learner.model, tokens)
        cost = conversation(turn, phase.turns, tokens, None, reads_along=True) + turn.read * phase.turns
        found.append(of_phase(name, phase, tokens, cost))
    return found


def adaptation(config: AdaptationConfig, learner: GrownLearner, tokens: int) -> list[Updates]:
    """A memory for a base. Beside the conversations' rows there are the base's own, which read memories without a
    gradient to them."""
    found = list[Updates]()
    for name, phase in named_phases(config.kind, config.phases):
        learn_only(config, phase.trains, learner)
        base = every_turn_on_base(learner.model, tokens)
        cost = base.below * phase.turns + conversation(base.turn, phase.turns, tokens, config.window, False)
        if config.keep is not None:
            kept = base.below + base.turn.decode + base.said + base.keep * most_targets(tokens)
            cost = cost + kept * (config.keep.batch_size / phase.batch_size)
        found.append(of_phase(name, phase, tokens, cost))
    return found


def preference(config: PreferenceConfig, learner: ReactiveLearner, tokens: int) -> list[Updates]:
    """Stage 5′, with two answers to every turn. The reference reads the same, without a gradient."""
    learn_only(config, config.trains, learner)
    turn, turns = every_turn(learner.model, tokens), config.turns
    walks = learner.model.encoder.reads_memory
    scored = (turn.decode + turn.answer * most_targets(tokens)) * (2 * turns)
    cost = walk(turn, turns, config.window, walks) + scored + scored.without_gradient()
    if config.own_temperature is not None:
        cost = cost + (turn.decode + turn.answer * most_targets(tokens)).without_gradient() * turns
    return [Updates(config.kind, config.steps, config.batch_size, turns, turns * tokens, config.trains, cost)]


def reinforcement(config: ReinforcementConfig, learner: PolicyLearner, tokens: int) -> list[Updates]:
    """Stage 5: the policy's answers scored with their gradient, and for every ``epochs`` updates once played and read
    by the reference."""
    found, longest = list[Updates](), min(config.longest_answer, most_targets(tokens))
    for name, phase in named_phases(config.kind, config.phases):
        learn_only(config, phase.trains, learner)
        turn, turns = every_turn(learner.model, tokens), phase.turns
        questions = turns - config.warm_up
        walked = walk(turn, turns, config.window, learner.model.encoder.reads_memory)
        said = (turn.decode + sampled_answer(learner.model) * longest) * (questions * config.answers)
        collected = (walked + said * 2).without_gradient() * (1 / config.epochs)
        cost = walked + said + collected
        if config.weights.supervised:
            cost = cost + (turn.decode + sampled_answer(learner.model) * most_targets(tokens)) * questions
        if learner.critic is not None:
            cost = cost + value(learner.critic, learner.model, 2 * tokens) * questions
        found.append(
            Updates(name, phase.steps, phase.batch_size, turns, turns * tokens, phase.trains, cost),
        )
    return found


def walk(turn: Turn, turns: int, window: int | None, reads_along: bool) -> Cost:
    """All memory updates of a conversation: one after every turn but the last.

    Args:
        window: updates back that a turn's loss sends its gradient, computed again for every turn from a memory to
            which no gradient goes.
        reads_along: the encoder reads memory too, so that it reads for every update that is computed.
    """
    chains = [turns - 1] if window is None else [min(number, window) for number in range(1, turns)]
    firsts, later = len(chains), sum(chains) - len(chains)
    reads = turn.first_read * firsts + turn.read * later if reads_along else turn.read * (turns - 1)
    cost = turn.first_write * firsts + turn.write * later + reads
    if window is not None:  # the values of all memories first, without a gradient
        cost = cost + (turn.write + turn.read * reads_along).without_gradient() * (turns - 1)
    return cost


def conversation(turn: Turn, turns: int, tokens: int, window: int | None, reads_along: bool) -> Cost:
    """A conversation of which every turn is answered out of the memory of those before it."""
    answered = (turn.decode + turn.answer * most_targets(tokens)) * turns
    return walk(turn, turns, window, reads_along) + answered


def checkpointed(turn: Turn, turns: int, tokens: int, window: int | None) -> Cost:
    """The same with the activations of one turn at a time: the memories alone are kept, and all is computed twice."""
    answered, remembered = turn.decode + turn.answer * most_targets(tokens), turn.read + turn.write
    peak = max(answered, remembered, key=lambda cost: cost.most(BFLOAT16))
    twice = Turn(
        turn.first_read.computed_again(),
        turn.first_write.computed_again(),
        turn.read.computed_again(),
        turn.write.computed_again(),
        turn.decode.computed_again(),
        turn.answer.computed_again(),
        turn.memory,
    )
    kept = Cost(peak.numbers + turns * turn.memory, peak.exact, peak.passing)
    return conversation(twice, turns, tokens, window, reads_along=True) + kept


def named_phases(kind: str, phases: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The phases of a stage by the names that ``--set`` gives them; those without updates are left out."""
    return [(f"{kind}.phases.{number}", phase) for number, phase in enumerate(phases) if phase.steps]


def of_phase(name: str, phase: Phase | FragmentsPhase, tokens: int, cost: Cost) -> Updates:
    return Updates(name, phase.steps, phase.batch_size, phase.turns, phase.turns * tokens, phase.trains, cost)


_COUNTS: dict[type[StageConfig], Callable[[Any, Any, int], list[Updates]]] = {
    JointConfig: language,
    InteractionConfig: language,
    MemoryPretrainConfig: memory_pretrain,
    RetrievalConfig: retrieval,
    MemoryAwareConfig: memory_aware,
    FragmentsConfig: fragments,
    AdaptationConfig: adaptation,
    PreferenceConfig: preference,
    ReinforcementConfig: reinforcement,
}
"""By the classes of the stages' configurations."""
