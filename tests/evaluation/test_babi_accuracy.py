"""bAbI: the right questions are counted, the model's own answers are remembered, and the control has no memory."""

from __future__ import annotations

from collections.abc import Sequence

from factories import remembering_model, tiny_config, tiny_tokenizer
from rxt.data.template import Template
from rxt.evaluation.groups import GroupResult, measure_groups
from rxt.evaluation.retention import Score
from rxt.evaluation.subject import Reactive, Subject
from rxt.tasks.babi import Line, Story
from rxt.tasks.babi.task import told as as_told
from rxt.tasks.base import Told

State = list[tuple[str, ...]]
STORIES = [
    Story(
        (
            Line("Anna ran to the attic."),
            Line("Where is Anna?", "attic"),
            Line("Tom sat."),
            Line("Where is Anna?", "cellar"),
        )
    ),
    Story((Line("Tom ran to the cellar."), Line("Where is Tom?", "cellar"))),
    Story((Line("Where is Tom?", "attic"),)),
]


def cases(stories: Sequence[Story]) -> list[Told]:
    return [as_told(story, 1) for story in stories]


class Listener(Subject[State]):
    """Answers with the last word of the first thing it was told; its state is all that was said, answers included."""

    def __init__(self) -> None:
        super().__init__(Template(tiny_tokenizer(), "alpha", tiny_config().max_length))
        self.heard: list[tuple[str, ...]] = []

    def start(self, batch_size: int, seed: int) -> State:
        return [()] * batch_size

    def answer(self, prompts: Sequence[list[int]], state: State, max_new_tokens: int = 48) -> list[list[int]]:
        words = [said[0].partition(" the ")[2].partition(".")[0] if said else "attic" for said in state]
        return [[*tiny_tokenizer().encode(word), tiny_tokenizer().tokens.eos] for word in words]

    def remember(self, state: State, interactions: Sequence[list[int]]) -> State:
        new = [(*said, tiny_tokenizer().decode(ids)) for said, ids in zip(state, interactions, strict=True)]
        self.heard += new
        return new

    def take(self, state: State, rows: Sequence[int]) -> State:
        return [state[row] for row in rows]

    def join(self, states: Sequence[State]) -> State:
        return [said for state in states for said in state]

    def state_bytes(self, state: State) -> int:
        return 0


def test_questions_are_counted_by_task_and_own_answers_remembered() -> None:
    told, listener = [], Listener()
    found = measure_groups(
        listener,
        {1: cases(STORIES), 4: cases(STORIES[1:2]), 7: cases([Story((Line("Tom sat."),))]), 9: []},
        1,
        16,
        told.append,
    )
    assert found == {
        1: GroupResult(3, Score(3, 4), Score(2, 4)),
        4: GroupResult(1, Score(1, 1), Score(0, 1)),
    }
    assert sum(told) == 5
    whole = ("Anna ran to the attic.attic", "Where is Anna?attic", "Tom sat.attic", "Where is Anna?attic")
    assert whole in listener.heard


def test_a_model_is_measured_the_same_in_any_company() -> None:
    model = remembering_model()
    subject = Reactive(model, Template(tiny_tokenizer(), "alpha", tiny_config().max_length))
    together = measure_groups(subject, {1: cases(STORIES)}, 1, 16)[1]
    assert together.score.asked == together.reset.asked == 4
    assert measure_groups(subject, {1: cases(STORIES)}, 1, 16)[1] == together
