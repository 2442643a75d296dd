"""Training data out of the bAbI tasks: stories from their first line on, many tasks in every batch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.babi import OKAY, BabiConfig, Story, read_split
from rxt.training.corpus import Corpus, Split
from rxt.training.data_config import DataConfig


def load_corpus(config: DataConfig, seed: int) -> Corpus:
    """The data of a run, whatever its kind."""
    if config.babi is None:
        return Corpus.load(config, seed)
    if not config.files:
        raise UserError("this recipe trains on the bAbI tasks: name the folder of their training files, --data DIR")
    return StoryCorpus.of(config.files[0], config.babi, seed)


@dataclass(frozen=True)
class StoryCorpus(Corpus):
    """The tasks of a folder. Each story of a batch is drawn anew: its task by the tasks' shares, then the story."""

    mix: BabiConfig = field(default_factory=BabiConfig)
    tasks: Mapping[Split, Mapping[int, Sequence[Conversation]]] = field(default_factory=dict)
    _pools: dict[tuple[Split, int | None], dict[int, tuple[float, list[Conversation]]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(cls, folder: str, mix: BabiConfig, seed: int) -> StoryCorpus:
        """Read a folder's training files; ``rxt.tasks.babi.read_split`` says which stories are for validation.

        Raises:
            UserError: as ``read_split``; there are no training files, or a task has too few stories to hold one out.
        """
        tasks: dict[Split, dict[int, tuple[Conversation, ...]]] = {"train": {}, "validation": {}}
        for split, found in tasks.items():
            for task, stories in read_split(folder, split).items():
                found[task] = tuple(learned(story, index, mix.okay_every) for index, story in enumerate(stories))
        for task in tasks["validation"].keys() - tasks["train"].keys():
            raise UserError(
                f"{folder}: task {task} has one story, too little to train on: add more, or leave its file out"
            )
        if not tasks["train"]:
            raise UserError(
                f"{folder}: holds no bAbI training files; they are called qa1_…_train.txt, with or without .gz"
            )
        conversations: dict[Split, tuple[Conversation, ...]] = {
            split: tuple(each for stories in found.values() for each in stories) for split, found in tasks.items()
        }
        return cls(conversations, everyday_share=0.0, seed=seed, mix=mix, tasks=tasks)

    def conversations(
        self, split: Split, step: int, size: int, turns: int, paraphrase_rate: float | None = None
    ) -> list[Conversation]:
        """``size`` stories for a step, each up to its last question that is not after line ``turns``; none that has no
        such question.

        Raises:
            UserError: no story has one.
        """
        draw = random.Random(f"{self.seed} {split} {turns} {step}")
        return self._draw(draw, split, size, turns)

    def from_files(self, split: Split, step: int, size: int, turns: int, shortest: int = 1) -> list[Conversation]:
        """As :meth:`conversations`: every story has a question, which is never its first line."""
        return self.conversations(split, step, size, turns)

    def interactions(self, split: Split, step: int, size: int) -> list[Interaction]:
        """``size`` single lines from anywhere in the stories."""
        draw = random.Random(f"{self.seed} {split} lines {step}")
        return [draw.choice(story.interactions) for story in self._draw(draw, split, size, None)]

    def _draw(self, draw: random.Random, split: Split, size: int, turns: int | None) -> list[Conversation]:
        """Stories drawn so that the tasks' lines, not their stories, are in the proportion of their shares."""
        pool = self._pool(split, turns)
        weights = [self.mix.share_of(task) / mean for task, (mean, _) in pool.items()]
        return [draw.choice(pool[task][1]) for task in draw.choices(list(pool), weights, k=size)]

    def _pool(self, split: Split, turns: int | None) -> dict[int, tuple[float, list[Conversation]]]:
        """By task: the mean length of its stories, cut for a number of turns, and these stories; kept for the next
        step."""
        key: tuple[Split, int | None] = (split, turns)
        if key not in self._pools:
            whole = {task: list(stories) for task, stories in self.tasks[split].items()}
            cut = whole if turns is None else {task: beginnings(stories, turns) for task, stories in whole.items()}
            asked = {task: stories for task, stories in cut.items() if stories}
            if not asked:
                raise UserError(f"no bAbI story has a question in its first {turns} lines: give every phase more turns")
            self._pools[key] = {
                task: (sum(len(story.interactions) for story in stories) / len(stories), stories)
                for task, stories in asked.items()
            }
        return self._pools[key]


def learned(story: Story, index: int, okay_every: int) -> Conversation:
    """A story as a conversation in which one in ``okay_every`` of the answers to statements is learned, besides the
    questions'."""
    asked = set(story.questions)
    unlearned = (line for line in range(len(story.lines)) if line not in asked and (index + line) % okay_every)
    return replace(story.conversation(), unlearned=frozenset(unlearned))


def beginnings(stories: Sequence[Conversation], lines: int) -> list[Conversation]:
    """Stories up to their last question by a line: what a listener has heard by then is a whole story too."""
    cut: list[Conversation] = []
    for story in stories:
        asked = [line for line, turn in enumerate(story.interactions[:lines]) if turn.answer != OKAY]
        if asked:
            end = asked[-1] + 1
            cut.append(
                Conversation(
                    story.interactions[:end], story.system, frozenset(line for line in story.unlearned if line < end)
                )
            )
    return cut
