"""Wrong ways to reply in hybrid conversations: each is wrong, of its kind, and a whole interaction."""

from __future__ import annotations

from rxt.data.said import spoken_in
from rxt.tasks.hybrid import HybridConfig
from rxt.tasks.hybrid.preferences import generate_preferences
from rxt.tasks.registry import task
from rxt.tasks.rejected import RejectedMix
from rxt.tools.tool import read_call

MIX = RejectedMix()
CONFIG = HybridConfig()


def test_every_question_has_a_wrong_way_of_a_known_kind() -> None:
    kinds: set[str] = set()
    for index in range(80):
        made = generate_preferences("train", 12, 5, index, CONFIG, MIX)
        assert made == generate_preferences("train", 12, 5, index, CONFIG, MIX)
        assert made.preferences.system == made.case.conversation.system
        assert not made.case.conversation.prompted, "what is accepted decides for itself"
        said = made.case.conversation.interactions
        assert tuple(turn.accepted for turn in made.preferences.turns) == said
        questions = {question.turn: question for question in made.case.questions}
        for turn, way in enumerate(made.preferences.turns):
            if turn not in questions:
                assert way.rejected is None
                continue
            rejected, right = way.rejected, said[turn]
            assert rejected is not None
            assert questions[turn].correct(spoken_in(right))
            assert not questions[turn].correct(spoken_in(rejected))
            told = (rejected.query, rejected.tool_use, rejected.internal)
            assert told == (right.query, right.tool_use, right.internal), "both are replies to the same"
            kind = made.rejected[turn]
            kinds.add(kind)
            match kind:
                case "wrong_step":
                    assert rejected.think is not None
                    assert rejected.think != right.think
                    assert rejected.answer != right.answer
                case "wrong_call":
                    assert rejected.tool_call is not None
                    assert "not JSON" not in (read_call(rejected.tool_call, made.case.tools, "").error or "")
                case "no_call":
                    assert rejected.tool_call is None
                    assert rejected.answer
                case "needless_call":
                    assert right.tool_call is None
                    assert read_call(rejected.tool_call or "", made.case.tools, "").error is None
                case "wrong_value":
                    assert rejected.think is None
                    assert rejected.answer not in (right.answer, "")
                case _:
                    assert rejected.tool_call is None
    assert kinds == {"wrong_value", "wrong_step", "wrong_call", "no_call", "needless_call", "evasive", "copy"}


def test_the_task_prefers() -> None:
    (told,) = task("hybrid").wrong_answers(3).preferences("validation", 0, 1, 9, MIX, 0.5)
    assert told.preferences is not None
    assert told.preferences.accepted.interactions == told.conversation.interactions
    assert any(turn.neutral is not None for turn in told.preferences.turns)
