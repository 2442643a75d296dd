"""Parameters chosen by patterns of their names."""

from __future__ import annotations

import pytest
from micro import MODEL, learner

from rxt.errors import UserError
from rxt.training.patterns import check_patterns, chosen_names

NAMES = ("decoder.embedding.weight", "decoder.layers.0.norm1.weight", "encoder.embedding.weight", "encoder.norm.weight")


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (("decoder",), {0, 1}),
        (("decoder.*",), {0, 1}),
        (("decoder.*", "!decoder.embedding"), {1}),
        (("*", "!*.embedding.*"), {1, 3}),
        (("!decoder", "decoder"), {0, 1}),
        (("*.norm?.*",), {1}),
        ((), set()),
    ],
)
def test_patterns_add_and_take_away_in_their_order(patterns: tuple[str, ...], chosen: set[int]) -> None:
    assert chosen_names(NAMES, patterns) == {NAMES[index] for index in chosen}


def test_a_pattern_is_never_a_part_of_a_name() -> None:
    with pytest.raises(UserError, match="'decode' names no parameter"):
        chosen_names(NAMES, ("decode",))
    with pytest.raises(UserError, match="'!head' names no parameter"):
        chosen_names(NAMES, ("decoder", "!head"))


def test_what_is_named_learns_and_the_shared_embedding_where_both_its_names_are() -> None:
    subject = learner()

    def learning() -> set[str]:
        return {name for name, parameter in subject.model.named_parameters() if parameter.requires_grad}

    subject.learn_only(("decoder", "encoder", "!decoder.embedding"))
    assert "decoder.embedding.weight" not in learning()
    assert {"decoder.head.weight", "encoder.layers.0.norm1.weight"} <= learning()
    subject.learn_only(("decoder.layers.0.*",))
    assert learning() == {name for name, _ in subject.model.named_parameters() if name.startswith("decoder.layers.0.")}
    subject.learn_only(("decoder", "encoder"))
    assert "decoder.embedding.weight" in learning()


def test_a_recipe_is_refused_before_anything_is_trained() -> None:
    check_patterns(MODEL, ("decoder", "!decoder.head"), "trains")
    with pytest.raises(UserError, match=r"recipe: memory_aware\.phases\.0\.trains: 'head' names no parameter"):
        check_patterns(MODEL, ("head",), "memory_aware.phases.0.trains")
