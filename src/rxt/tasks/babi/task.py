"""The bAbI tasks as a task: stories from their first line on, many kinds of story in every batch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.babi.stories import OKAY, BabiConfig, Story, read_split
from rxt.tasks.base import Source, Split, Task, Told, TrainingSplit

NO_FOLDER = "this recipe trains on the bAbI tasks: name the folder of their training files, --data DIR"


@dataclass(frozen=True)
class StoryQuestion:
    """A question of a story."""

    turn: int
    kind: str
    """The number of the bAbI task."""
    value: str
    told_turn: int | None = None
    """The last line that supports the answer, where the file names one."""

    def correct(self, answer: str) -> bool:
        """Whether an answer is the one that stands in the file."""
        return answer.strip() == self.value


class Babi(Task[BabiConfig]):
    """All bAbI tasks of a folder, one line of a story a turn."""

    name = "babi"
    settings_type = BabiConfig
    probes_in_training = False
    longest_answer = 16
    """``apple,football,milk`` and its end are six where every word is one."""

    def source(self, seed: int) -> StorySource:
        return StorySource.of(self.folder, self.settings, seed)

    @property
    def folder(self) -> str:
        """The folder that the settings name."""
        if self.settings.folder is None:
            raise UserError(NO_FOLDER)
        return self.settings.folder

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        """A story up to a question whose newest supporting line is ``distance`` lines before it."""
        found = [
            (case, question)
            for cases in self.groups(split).values()
            for case in cases
            for question in (case.questions or {}).values()
            if question.told_turn is not None and question.turn - question.told_turn == distance
        ]
        if not found:
            raise UserError(f"{self.folder}: no {split} story asks for what it told {distance} lines before")
        case, question = random.Random(f"{seed} {split} {distance} {index}").choice(found)
        heard = Conversation(case.conversation.interactions[: question.turn + 1])
        return Told(heard, {turn: each for turn, each in (case.questions or {}).items() if turn <= question.turn})

    def groups(self, split: Split) -> Mapping[str, Sequence[Told]]:
        """Every story with its questions, by the number of its bAbI task, rising."""
        return {
            str(task): [told(story, task) for story in stories]
            for task, stories in read_split(self.folder, "test" if split == "test-unseen-phrasings" else split).items()
        }

    def with_data(self, names: Sequence[str], validation: Sequence[str]) -> Babi | None:
        if len(names) > 1 or validation:
            raise UserError("--data must be the one folder of the bAbI tasks, --data DIR, without --validation-data")
        return Babi(replace(self.settings, folder=names[0])) if names else self

    def describe(self, share: float) -> str:
        return f"the bAbI question-answering tasks in {Path(self.folder).name}"


def told(story: Story, task: int) -> Told:
    """A story as a conversation, with what is known of its questions."""
    return Told(
        story.conversation(),
        {
            turn: StoryQuestion(turn, str(task), line.answer, line.told)
            for turn, line in enumerate(story.lines)
            if line.answer is not None
        },
    )


@dataclass(frozen=True)
class StorySource(Source):
    """The tasks of a folder. Each story of a batch is drawn anew: its task by the tasks' shares, then the story."""

    mix: BabiConfig
    seed: int
    tasks: Mapping[TrainingSplit, Mapping[int, Sequence[Conversation]]]
    _pools: dict[tuple[TrainingSplit, int | None], dict[int, tuple[float, list[Conversation]]]] = field(
        default_factory=dict, init=False, repr=False
    )
    endless = False

    @classmethod
    def of(cls, folder: str, mix: BabiConfig, seed: int) -> StorySource:
        """Read a folder's training files; ``read_split`` says which stories are for validation.

        Raises:
            UserError: as ``read_split``; there are no training files, or a task has too few stories to hold one out.
        """
        tasks: dict[TrainingSplit, dict[int, tuple[Conversation, ...]]] = {"train": {}, "validation": {}}
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
        return cls(mix, seed, tasks)

    def conversations(self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1) -> list[Told]:
        """``size`` stories for a step, each up to its last question that is not after line ``turns``; none that has no
        such question. A question is never a story's first line.

        Raises:
            UserError: no story has one.
        """
        draw = random.Random(f"{self.seed} {split} {turns} {step}")
        return [Told(story) for story in self._draw(draw, split, size, turns)]

    def interactions(self, split: TrainingSplit, step: int, size: int) -> list[Interaction]:
        """``size`` single lines from anywhere in the stories."""
        draw = random.Random(f"{self.seed} {split} lines {step}")
        return [draw.choice(story.interactions) for story in self._draw(draw, split, size, None)]

    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        for stories in self.tasks["train"].values():
            yield from stories

    def everything(self) -> Iterator[Conversation]:
        """Those of validation too."""
        for found in self.tasks.values():
            for stories in found.values():
                yield from stories

    def _draw(self, draw: random.Random, split: TrainingSplit, size: int, turns: int | None) -> list[Conversation]:
        """Stories drawn so that the tasks' lines, not their stories, are in the proportion of their shares."""
        pool = self._pool(split, turns)
        weights = [self.mix.share_of(task) / mean for task, (mean, _) in pool.items()]
        return [draw.choice(pool[task][1]) for task in draw.choices(list(pool), weights, k=size)]

    def _pool(self, split: TrainingSplit, turns: int | None) -> dict[int, tuple[float, list[Conversation]]]:
        """By task: the mean length of its stories, cut for a number of turns, and these stories; kept for the next
        step."""
        key: tuple[TrainingSplit, int | None] = (split, turns)
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
