"""A further stage is a class, its configuration, and a line of the registry; nothing else needs to know of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from micro import OPTIM, RUN, quiet
from pydantic import TypeAdapter

from rxt.data.collate import Rows, collate_rows
from rxt.errors import UserError
from rxt.generation.scoring import answer_scores
from rxt.training.config import RunConfig
from rxt.training.config_base import OptimConfig, StageConfig
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner
from rxt.training.pipeline import train
from rxt.training.stages.base import CorpusStage, StageLoss
from rxt.training.stages.registry import STAGES, StageEntry


@dataclass(frozen=True, kw_only=True)
class DrillConfig(StageConfig):
    kind: Literal["drill"] = "drill"
    steps: int
    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(frozen=True)
class DrillStage(CorpusStage[DrillConfig]):
    """Data: single interactions. Trains: the decoder. Loss: the answers, out of a fresh memory."""

    name: str = "6-drill"

    def batches(self, split: Split, step: int) -> list[Rows]:
        said = self.corpus.interactions(split, step, 4)
        return [collate_rows([self.template.interaction(each) for each in said], self.template.tokens.pad)]

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(("decoder",))

    def loss(
        self, learner: ReactiveLearner, batch: Rows, all_batches: list[Rows], generator: torch.Generator
    ) -> StageLoss:
        decoder, slots = learner.model.decoder, learner.model.init_memory(len(batch), 0).slots
        turns = torch.zeros(len(batch), dtype=torch.long)
        scores = answer_scores(decoder.hidden(batch.ids, slots, batch.mask), decoder.head, batch, turns)
        return StageLoss(scores.nll.mean(), {}, batch.tokens)


def test_a_new_stage_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES, "drill", StageEntry(DrillConfig, DrillStage.build))
    run = replace(RUN, stages=(DrillConfig(steps=2, optim=OPTIM),))
    adapter = TypeAdapter(RunConfig)
    assert adapter.validate_python(adapter.dump_python(run, mode="json")) == run
    model = train(run, tmp_path / "run", quiet())
    assert (model / "model.safetensors").is_file()
    lines = [json.loads(line) for line in (tmp_path / "run" / "6-drill" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [1, 2]
    assert json.loads((tmp_path / "run" / "6-drill" / "stage.json").read_text())["config"]["kind"] == "drill"


def test_an_unknown_stage_is_an_error_that_names_the_known_ones() -> None:
    values = TypeAdapter(RunConfig).dump_python(RUN, mode="json")
    values["stages"][0]["kind"] = "drill"
    with pytest.raises(
        UserError,
        match="joint, interaction, retrieval, memory_pretrain, memory_aware, adaptation, reinforcement, preference",
    ):
        TypeAdapter(RunConfig).validate_python(values)


def test_a_run_of_the_older_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"name": "micro", "joint": {"steps": 6}}))
    with pytest.raises(UserError, match=r"holds a run of an older version.*choose another --out$"):
        train(RUN, tmp_path, quiet())
