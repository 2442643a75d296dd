"""Rollouts as data: what was said in B episodes, with which memories, how likely it was, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from rxt.data.collate import Conversations, Rows, collate_conversations, collate_rows
from rxt.data.records import Interaction
from rxt.data.template import Encoded, Template
from rxt.generation.generate import generate_scored
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.critic import critic_rows
from rxt.training.reinforcement.episodes import Episode, Step
from rxt.training.reinforcement.rewards import Answered, Reward, rewards


@dataclass(frozen=True)
class Rollout:
    """B episodes of together R interactions that were memorized, Q questions, and N answers with M sampled tokens.

    With several answers to a question N is a multiple of Q: the answers of a question follow each other, the first was memorized.
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
        """Root mean square of what an interaction changed in the memory, a mean over all but the last of each episode."""
        changes = [
            (self.before[:, after] - self.before[:, before][:, : after.stop - after.start]).square().mean((0, 2, 3)).sqrt()
            for before, after in pairwise(self.said.turns())
        ]
        return torch.cat(changes).mean() if changes else self.before.new_zeros(())


@dataclass(frozen=True)
class Played:
    """A rollout, and the memories (L, B, S, D) that its episodes left behind."""

    rollout: Rollout
    left: Tensor


@dataclass(frozen=True)
class _Said:
    """One answer of the policy."""

    prompt: list[int]
    tokens: list[int]
    log_probabilities: Tensor
    about: Answered


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
    """Play B episodes together from the memories ``slots`` (L, B, S, D), longest first; rewards come at the end, all at once.

    An interaction that the policy does not answer is memorized as the conversation has it. With ``teacher_forcing`` all are.
    """
    memory, said, left = Memory(slots), [list[Encoded]() for _ in episodes], list[Tensor]()
    previous = [Interaction("", "") for _ in episodes]
    saved: list[list[int]] = [[] for _ in episodes]
    before: list[Tensor] = []
    found: list[_Said] = []
    source: list[int] = []
    asked: list[tuple[Step, list[int], list[int]]] = []  # the step, what was saved before it, its prompt
    row = 0
    for turn in range(len(episodes[0])):
        active = [episode for episode in episodes if len(episode) > turn]
        memory = memory.first(len(active))
        before.append(memory.slots)
        chosen = [index for index, episode in enumerate(active) if episode[turn].answered]
        questions = [active[index][turn] for index in chosen]
        prompts = [template.prompt_of(_interaction(step)) for step in questions]
        asked += [(step, saved[index], prompt) for step, index, prompt in zip(questions, chosen, prompts, strict=True)]
        about = [previous[index] for index in chosen]
        answers = _answer(model, template, questions, prompts, about, memory.take(chosen), config, seed + turn) if chosen else []
        found += answers
        source += [row + index for index in chosen for _ in range(config.answers)]
        own = {index: answers[at * config.answers] for at, index in enumerate(chosen)}
        for index, episode in enumerate(active):
            step = episode[turn]
            memorized, text = step.reference, step.interaction
            if index in own and not teacher_forcing:
                given = own[index]
                ids = template.complete(given.prompt, given.tokens)
                memorized = Encoded(ids, [False] * len(ids))
                text = replace(_interaction(step), answer=given.about.answer, think=None, tool_call=None)
            said[index].append(memorized)
            saved[index] = memorized.ids
            previous[index] = text or Interaction("", "")
        rows = collate_rows([said[index][turn] for index in range(len(active))], template.tokens.pad).to(slots.device)
        memory = model.memorize(memory, rows.ids, rows.mask)
        row += len(active)
        staying = sum(len(episode) > turn + 1 for episode in active)
        left = [*(memory.slots[:, index : index + 1] for index in range(staying, len(active))), *left]
    pad = template.tokens.pad
    answered = [Encoded([*each.prompt, *each.tokens], [False] * len(each.prompt) + [True] * len(each.tokens)) for each in found]
    wanted = [step.reference for step, _, _ in asked]
    rollout = Rollout(
        said=collate_conversations(said, pad),
        before=torch.cat(before, dim=1),
        answers=collate_rows(answered, pad),
        source=torch.tensor(source),
        log_probabilities=torch.cat([each.log_probabilities for each in found]),
        rewards=torch.tensor(rewards(reward, [each.about for each in found])),
        distance=torch.tensor([step.distance for step, _, _ in asked]).repeat_interleave(config.answers),
        wanted=collate_rows(wanted, pad),
        wanted_source=torch.tensor(source[:: config.answers]),
        context=critic_rows([before for _, before, _ in asked], [prompt for _, _, prompt in asked], pad),
    )
    return Played(rollout.to(slots.device), torch.cat(left, dim=1))


def _answer(
    model: ReactiveTransformer,
    template: Template,
    questions: Sequence[Step],
    prompts: Sequence[list[int]],
    previous: Sequence[Interaction],
    memory: Memory,
    config: ReinforcementConfig,
    seed: int,
) -> list[_Said]:
    """The answers to the questions of one turn, ``config.answers`` to each."""
    repeated = [index for index in range(len(prompts)) for _ in range(config.answers)]
    rows = collate_rows([Encoded(prompts[index], [False] * len(prompts[index])) for index in repeated], template.tokens.pad)
    rows = rows.to(memory.slots.device)
    sampled = generate_scored(model, rows.ids, memory.take(repeated), config.longest_answer, config.temperature, seed, rows.mask)
    lengths = (sampled.tokens >= 0).sum(1).tolist()
    found: list[_Said] = []
    for index, length, tokens, log_p in zip(repeated, lengths, sampled.tokens.tolist(), sampled.log_probabilities, strict=True):
        reply, step = template.parse(tokens[:length]), questions[index]
        asked, before = _interaction(step), previous[index]
        about = Answered(asked.query, reply.answer, asked.answer, _text(before), step.question, reply.finished)
        found.append(_Said(prompts[index], tokens[:length], log_p[:length], about))
    return found


def _interaction(step: Step) -> Interaction:
    assert step.interaction is not None  # a system prompt is never answered
    return step.interaction


def _text(interaction: Interaction) -> str:
    return f"{interaction.query} {interaction.answer}".strip()
