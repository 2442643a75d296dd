"""Rollouts as data: what was said in B episodes, with which memories, how likely it was, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import torch
from torch import Tensor

from rxt.data.collate import Conversations, Rows, collate_conversations, collate_rows
from rxt.data.said import heard_and_spoken, spoken, spoken_in
from rxt.data.template import Encoded, Mode, Template
from rxt.generation.scored import generate_scored
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.critic import critic_rows
from rxt.training.reinforcement.episodes import Episode, Step
from rxt.training.reinforcement.rewards import Answered, Reward, rewards
from rxt.training.unroll import conversation_memories

MOST_TOGETHER = 1_024
"""Answers that are drawn at once."""


@dataclass(frozen=True)
class Rollout:
    """B episodes of together R interactions that were memorized, Q questions, and N answers with M sampled tokens.

    With several answers to a question N is a multiple of Q: the answers of a question follow each other, the first was
    memorized.
    """

    said: Conversations
    """What was memorized, longest episodes first."""
    before: Tensor
    """(L, R, S, D): the memory before each of those interactions."""
    answers: Rows
    """(N, T): prompts and what was sampled, [EOS] included; the targets are the M sampled tokens."""
    source: Tensor
    """(N,): the row of ``said`` that each answer is another ending of, so the memory that it was given with."""
    log_probabilities: Tensor
    """(M,): the sampler's, temperature included, in the order of the targets."""
    rewards: Tensor
    """(N,): from 0 to 10."""
    distance: Tensor
    """(N,): turns since the fact asked for was told, 0 where that is not known."""
    wanted: Rows
    """(Q, T): the questions with the conversation's own answers, which are the targets."""
    wanted_source: Tensor
    """(Q,): their rows of ``said``."""
    context: Rows
    """(Q, T): what a critic reads of each question."""

    @property
    def initial(self) -> Tensor:
        """(L, B, S, D): what the episodes began with; a trainer computes all later memories from it."""
        return self.before[:, : self.said.size]

    @property
    def answer_of_token(self) -> Tensor:
        """(M,): the answer that each sampled token belongs to."""
        return self.answers.targets.nonzero()[:, 0]

    @property
    def answers_each(self) -> int:
        """Answers to each question."""
        return len(self.answers) // len(self.wanted)

    @property
    def lengths(self) -> Tensor:
        """(N,): sampled tokens of each answer."""
        return self.answers.targets.sum(1)

    def to(self, device: torch.device) -> Rollout:
        """The same rollout on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items()}
        return replace(self, **moved)

    def memory_change(self) -> Tensor:
        """Root mean square of what an interaction changed in the memory, a mean over all but the last of each
        episode."""
        changes = [
            (self.before[:, after] - self.before[:, before][:, : after.stop - after.start])
            .square()
            .mean((0, 2, 3))
            .sqrt()
            for before, after in pairwise(self.said.turns())
        ]
        return torch.cat(changes).mean() if changes else self.before.new_zeros(())


@dataclass(frozen=True)
class Played:
    """A rollout, and the memories (L, B, S, D) that its episodes left behind."""

    rollout: Rollout
    left: Tensor


@dataclass(frozen=True)
class _Asked:
    """One question to the policy."""

    step: Step
    row: int
    """Of the interaction among all that are memorized."""
    saved: list[int]
    """The interaction memorized before it."""
    previous: str
    """The same as text."""
    prompt: list[int]


@dataclass(frozen=True)
class _Said:
    """One answer of the policy."""

    tokens: list[int]
    log_probabilities: Tensor
    about: Answered
    thinking: int
    """Tokens of thinking among them."""


@dataclass(frozen=True)
class _Scene:
    """What has happened in B episodes."""

    said: Conversations
    before: Tensor
    left: Tensor
    asked: list[_Asked]
    answers: list[_Said]


@torch.no_grad()
def play(
    model: ReactiveTransformer,
    template: Template,
    episodes: Sequence[Episode],
    slots: Tensor,
    config: ReinforcementConfig,
    teacher_forcing: bool,
    reward: Reward,
    seed: int,
) -> Played:
    """Play B episodes together from the memories ``slots`` (L, B, S, D), longest first; rewards come at the end, all at
    once.

    An interaction that the policy does not answer is memorized as the conversation has it. With ``teacher_forcing`` all
    are; then the memories do not wait for answers, and all questions are answered together.
    """
    acted = _at_once if teacher_forcing else _turn_by_turn
    scene = acted(model, template, episodes, slots, config, seed)
    pad, prompts = template.tokens.pad, [asked.prompt for asked in scene.asked for _ in range(config.answers)]
    answered = [
        Encoded([*prompt, *each.tokens], [False] * len(prompt) + [True] * len(each.tokens))
        for prompt, each in zip(prompts, scene.answers, strict=True)
    ]
    rows = torch.tensor([asked.row for asked in scene.asked])
    rollout = Rollout(
        said=scene.said,
        before=scene.before,
        answers=collate_rows(answered, pad),
        source=rows.repeat_interleave(config.answers),
        log_probabilities=torch.cat([each.log_probabilities for each in scene.answers]),
        rewards=torch.tensor(_earned(reward, scene.answers, config.thinking_price)),
        distance=torch.tensor([asked.step.distance for asked in scene.asked]).repeat_interleave(config.answers),
        wanted=collate_rows([asked.step.reference for asked in scene.asked], pad),
        wanted_source=rows,
        context=critic_rows([asked.saved for asked in scene.asked], [asked.prompt for asked in scene.asked], pad),
    )
    return Played(rollout.to(slots.device), scene.left)


def _turn_by_turn(
    model: ReactiveTransformer,
    template: Template,
    episodes: Sequence[Episode],
    slots: Tensor,
    config: ReinforcementConfig,
    seed: int,
) -> _Scene:
    """Ask, answer and memorize the answer, as a conversation goes."""
    memory, said, left = Memory(slots), [list[Encoded]() for _ in episodes], list[Tensor]()
    texts = ["" for _ in episodes]  # of the interactions memorized last
    before: list[Tensor] = []
    asked: list[_Asked] = []
    answers: list[_Said] = []
    row = 0
    for turn in range(len(episodes[0])):
        active = [episode for episode in episodes if len(episode) > turn]
        memory = memory.first(len(active))
        before.append(memory.slots)
        chosen = [index for index, episode in enumerate(active) if episode[turn].answered]
        questions = [
            _question(template, active[index][turn], row + index, said[index], texts[index], config.mode)
            for index in chosen
        ]
        given = _answer(model, template, questions, memory.take(chosen), config, seed + turn) if chosen else []
        own = {
            index: (question, given[at * config.answers])
            for at, (index, question) in enumerate(zip(chosen, questions, strict=True))
        }
        for index, episode in enumerate(active):
            step = episode[turn]
            memorized, texts[index] = step.reference, _text(step)
            if index in own:
                question, first = own[index]
                ids = template.complete(question.prompt, first.tokens)
                memorized, texts[index] = (
                    Encoded(ids, [False] * len(ids)),
                    f"{first.about.query} {first.about.answer}".strip(),
                )
            said[index].append(memorized)
        rows = collate_rows([said[index][turn] for index in range(len(active))], template.tokens.pad).to(slots.device)
        memory = model.memorize(memory, rows.ids, rows.mask)
        staying = sum(len(episode) > turn + 1 for episode in active)
        left.insert(0, memory.slots[:, staying:])
        asked, answers, row = asked + questions, answers + given, row + len(active)
    return _Scene(
        collate_conversations(said, template.tokens.pad),
        torch.cat(before, dim=1),
        torch.cat(left, dim=1),
        asked,
        answers,
    )


def _at_once(
    model: ReactiveTransformer,
    template: Template,
    episodes: Sequence[Episode],
    slots: Tensor,
    config: ReinforcementConfig,
    seed: int,
) -> _Scene:
    """Memorize what the conversations say, then answer all questions, each out of its own turn's memory."""
    said = collate_conversations(
        [[step.reference for step in episode] for episode in episodes], template.tokens.pad
    ).to(slots.device)
    memories = conversation_memories(model, said, slots)
    asked: list[_Asked] = []
    left: list[Tensor] = []
    for turn, rows in enumerate(said.turns()):
        active = [episode for episode in episodes if len(episode) > turn]
        for index, episode in enumerate(active):
            if episode[turn].answered:
                heard = [step.reference for step in episode[:turn]]
                previous = _text(episode[turn - 1])
                asked.append(_question(template, episode[turn], rows.start + index, heard, previous, config.mode))
        staying = sum(len(episode) > turn + 1 for episode in active)
        if staying < len(active):
            ended = said.rows[slice(rows.start + staying, rows.stop)]
            left.insert(0, model.memorize(Memory(memories[turn][:, staying:]), ended.ids, ended.mask).slots)
    before = torch.cat(memories, dim=1)
    answers: list[_Said] = []
    together = max(1, MOST_TOGETHER // config.answers)
    for start in range(0, len(asked), together):
        part = asked[start : start + together]
        memory = Memory(before[:, [question.row for question in part]])
        answers += _answer(model, template, part, memory, config, seed + start)
    return _Scene(said, before, torch.cat(left, dim=1), asked, answers)


def _earned(reward: Reward, answers: Sequence[_Said], thinking_price: float) -> list[float]:
    """The rewards, less what the thinking costs, and never below 0."""
    found = rewards(reward, [each.about for each in answers])
    return [max(0.0, value - thinking_price * each.thinking) for value, each in zip(found, answers, strict=True)]


def _question(template: Template, step: Step, row: int, said: Sequence[Encoded], previous: str, mode: Mode) -> _Asked:
    assert step.interaction is not None  # a system prompt is never answered
    return _Asked(step, row, said[-1].ids if said else [], previous, template.prompt_of(step.interaction, mode))


def _answer(
    model: ReactiveTransformer,
    template: Template,
    questions: Sequence[_Asked],
    memory: Memory,
    config: ReinforcementConfig,
    seed: int,
) -> list[_Said]:
    """The answers to questions out of the memories before them, ``config.answers`` to each."""
    repeated = [index for index in range(len(questions)) for _ in range(config.answers)]
    prompts = [Encoded(questions[index].prompt, [False] * len(questions[index].prompt)) for index in repeated]
    rows = collate_rows(prompts, template.tokens.pad).to(memory.slots.device)
    sampled = generate_scored(
        model, rows.ids, memory.take(repeated), config.longest_answer, config.temperature, seed, rows.mask
    )
    lengths = (sampled.tokens >= 0).sum(1).tolist()
    found: list[_Said] = []
    for index, length, tokens, log_p in zip(
        repeated, lengths, sampled.tokens.tolist(), sampled.log_probabilities, strict=True
    ):
        question = questions[index]
        interaction, known = question.step.interaction, question.step.question
        assert interaction is not None
        said = tokens[:length]
        reply = template.parse(said, config.mode)
        whole = reply.finished and (config.mode != "auto" or said[0] in template.openers)
        asked = interaction.query if interaction.tool_use is None else interaction.tool_use
        text = spoken(reply.answer, reply.tool_call)
        about = Answered(asked, text, spoken_in(interaction), question.previous, known, whole)
        found.append(_Said(said, log_p[:length], about, thinking_tokens(template, said, config.mode)))
    return found


def _text(step: Step) -> str:
    """What is said in an interaction; a system prompt is no interaction."""
    return "" if step.interaction is None else heard_and_spoken(step.interaction)


def thinking_tokens(template: Template, said: Sequence[int], mode: Mode) -> int:
    """Of a reply's tokens, those of thinking: all before the answer's marker, where it begins with thinking."""
    begins = said[:1] == [template.tokens.think]
    if mode != "thinking" and not (mode == "auto" and begins):
        return 0
    ends = {template.tokens.answer, template.tokens.tool_call, template.tokens.eos}
    return sum(1 for _ in takewhile(lambda token: token not in ends, said[int(begins) :]))
