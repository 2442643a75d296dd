"""The type that products are computed in: who decides, what it changes, and where it is noted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro import AWARE, INTERACTION, JOINT, MOE_MODEL, PRETRAIN, RUN, learner, quiet, stages

from rxt.errors import UserError
from rxt.training import faster_products
from rxt.training.faster_products import choose_products, faster, noted_products
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.pipeline import train
from rxt.training.precision import Products
from rxt.training.recipes import recipe
from rxt.training.together import Together

SHORT = RUN.having(
    replace(JOINT, steps=2),
    replace(INTERACTION, steps=0),
    replace(PRETRAIN, steps=0),
    replace(AWARE, phases=tuple(replace(phase, steps=1) for phase in AWARE.phases)),
)


def losses(products: Products, stage_number: int, steps: int = 8) -> list[float]:
    """Of a stage's first updates of a model with experts."""
    stage, subject = stages(RUN)[stage_number], learner(MOE_MODEL)
    optimizer = make_optimizer(subject, stage.optim)
    together = Together(subject, products=products)
    found = [float(update(stage, subject, optimizer, 0, step, together)[0].loss) for step in range(steps)]
    assert {parameter.dtype for parameter in subject.parameters()} == {torch.float32}
    return found


@pytest.mark.parametrize("stage", range(4))
def test_learning_in_bfloat16_is_learning(stage: int) -> None:
    exact, rounded = losses("float32", stage), losses("bfloat16", stage)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.03)


def test_what_is_asked_for_is_done_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_products, "_seconds", lambda *_: pytest.fail("timed"))
    stage, subject = stages(RUN)[0], learner()
    assert choose_products(stage, subject, 0, "bfloat16", quiet()) == "bfloat16"
    assert choose_products(stage, subject, 0, "float32", quiet()) == "float32"
    assert choose_products(stage, subject, 0, None, quiet()) == "float32"


@pytest.mark.parametrize(("rounded", "expected"), [(1.0, "bfloat16"), (1.9, "float32"), (3.0, "float32")])
def test_auto_takes_what_is_clearly_faster(rounded: float, expected: Products, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faster(2.0, rounded) == expected
    monkeypatch.setattr(
        faster_products, "_seconds", lambda loss, learner, products: rounded if products == "bfloat16" else 2.0
    )
    console = quiet()
    assert choose_products(stages(RUN)[0], learner(), 0, "auto", console) == expected
    assert f"products in {expected}" in console.file.getvalue()  # type: ignore[attr-defined]


def test_timing_leaves_the_learner_as_it_is() -> None:
    stage, subject = stages(RUN)[3], learner()
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    assert choose_products(stage, subject, 0, "auto", quiet()) in ("float32", "bfloat16")
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.weights().items())
    assert all(parameter.grad is None for parameter in subject.parameters())


def test_a_run_notes_it_and_its_card_says_so(tmp_path: Path) -> None:
    model = train(SHORT, tmp_path / "run", quiet(), dtype="bfloat16")
    note = tmp_path / "run" / "1-joint" / "stage.json"
    assert json.loads(note.read_text())["products"] == "bfloat16"
    assert "- products in bfloat16, weights in float32: 1-joint" in (model / "README.md").read_text()
    assert noted_products(note, "auto") == "bfloat16"
    assert noted_products(note, None) is None
    assert noted_products(tmp_path / "none", "auto") is None


def test_a_stage_on_a_base_has_a_type_of_its_own(tmp_path: Path) -> None:
    run = replace(recipe("adapt"), start="somewhere")
    with pytest.raises(UserError, match=r"^--dtype: .*adaptation\.precision"):
        train(run, tmp_path, quiet(), dtype="bfloat16")
