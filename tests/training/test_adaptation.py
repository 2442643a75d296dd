"""A base gets a memory: what learns, what is kept of it, and what the result is."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from grown import READING, SLOTS, grown, store_base
from micro import quiet, template, tokenizer
from safetensors.torch import load_file

from rxt.cli.train import run as train_command
from rxt.errors import UserError
from rxt.pretrained import ReactiveTransformer
from rxt.training.config import RunConfig
from rxt.training.config_base import RateFactor
from rxt.training.corpus import Corpus
from rxt.training.data_config import DataConfig
from rxt.training.keeping import KeepConfig, OwnWords, some_memories
from rxt.training.learner import GrownLearner
from rxt.training.loop import update
from rxt.training.memories import Walked
from rxt.training.optim import make_optimizer
from rxt.training.pipeline import train
from rxt.training.recipes import recipe
from rxt.training.recipes_on_base import MEMORY, OPTIM, grown_on
from rxt.training.stages.adaptation import AdaptationConfig, AdaptationStage
from rxt.training.stages.memory_aware import Phase

PHASES = (
    Phase(2, 2, 4, MEMORY, echo=True),
    Phase(2, 3, 4, MEMORY, random_pieces=6),
    Phase(2, 4, 4, MEMORY, shortest=2),
)
CONFIG = AdaptationConfig(phases=PHASES, optim=replace(OPTIM, warmup=2))


def learner(tokens: bool = False) -> GrownLearner:
    return GrownLearner(grown(tokenizer().vocab_size, rank=2 if tokens else 0, tokens=tokens))


def stage(config: AdaptationConfig = CONFIG, folder: Path = Path()) -> AdaptationStage:
    return AdaptationStage(Corpus.load(DataConfig(), 0), template(), config, folder=folder)


def tiny_run(base: Path, config: AdaptationConfig = CONFIG) -> RunConfig:
    made = replace(
        recipe("adapt"),
        stages=(config,),
        data=DataConfig(),
        log_every=1,
        validate_every=3,
        validation_batches=1,
        checkpoint_every=2,
    )
    return grown_on(made, str(base), READING, SLOTS)


def test_the_memory_learns_and_the_base_stays() -> None:
    subject, trained = learner(), stage()
    optimizer = make_optimizer(subject, CONFIG.optim)
    before = {name: weight.clone() for name, weight in subject.model.named_parameters()}
    for step in range(CONFIG.steps):
        update(trained, subject, optimizer, 0, step)
    moved = {name for name, weight in subject.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == subject.own - {"fresh_memory"}, "the phases name reads and writes"
    assert "decoder.layers.1.cross_attention.q_proj.weight" in moved
    assert not any("embedding" in name or ".attention.q_proj" in name for name in moved if name.startswith("decoder"))
    assert set(subject.weights()) == {f"model.{name}" for name in subject.own}


def test_a_phase_chooses_among_the_memorys_parameters() -> None:
    subject = learner()
    subject.learn_only(("decoder",))
    learning = {name for name, weight in subject.model.named_parameters() if weight.requires_grad}
    assert learning == {name for name in subject.own if name.startswith("decoder.")}
    with pytest.raises(UserError, match="names no parameter"):
        subject.learn_only(("encoder",))


def test_where_slots_hold_tokens_adapters_learn_and_there_are_no_reads() -> None:
    subject, trained = learner(tokens=True), stage()
    optimizer = make_optimizer(subject, CONFIG.optim)
    before = {name: weight.clone() for name, weight in subject.model.named_parameters()}
    for step in range(CONFIG.steps):
        update(trained, subject, optimizer, 0, step)
    moved = {name for name, weight in subject.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == subject.own - {"fresh_memory"}
    assert all(name.endswith(("queries", "lora_up", "lora_down")) for name in moved)


def test_rates_by_names() -> None:
    subject = learner()
    rates = (RateFactor("decoder.*read_scale", 10.0), RateFactor("decoder.*cross_attention", 0.5))
    groups = make_optimizer(subject, replace(OPTIM, rates=rates)).param_groups
    shares = {id(weight): group["share"] for group in groups for weight in group["params"]}
    found = {name: shares[id(weight)] for name, weight in subject.unique_parameters()}
    assert {share for name, share in found.items() if name.endswith("read_scale")} == {10.0}
    assert {share for name, share in found.items() if "cross_attention" in name} == {0.5}
    assert {share for name, share in found.items() if "decoder" not in name} == {1.0}


def losses(config: AdaptationConfig, folder: Path = Path(), tokens: bool = False) -> list[float]:
    trained = stage(config, folder)
    subject = trained.learner_for(learner(tokens))
    optimizer = make_optimizer(subject, config.optim)
    return [sum(float(part.loss) for part in update(trained, subject, optimizer, 0, step)) for step in range(6)]


@pytest.mark.parametrize("tokens", [False, True])
def test_bfloat16_and_a_cache_follow_the_same_curve(tmp_path: Path, tokens: bool) -> None:
    exact = losses(CONFIG, tokens=tokens)
    assert losses(replace(CONFIG, cache_gigabytes=1e-3), tmp_path, tokens) == pytest.approx(exact, rel=2e-3)
    rounded = losses(replace(CONFIG, precision="bfloat16"), tokens=tokens)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=2e-2)


def test_a_run_ends_with_a_memory_that_finds_its_base(tmp_path: Path) -> None:
    base = store_base(tmp_path / "base")
    keep = KeepConfig(interactions=4, batch_size=2)
    run = tiny_run(base, replace(CONFIG, precision="bfloat16", cache_gigabytes=1e-3, keep=keep))
    folder = train(run, tmp_path / "run", quiet())
    stored = load_file(folder / "model.safetensors")
    assert any(name.startswith("memory_attention.") for name in stored)
    assert not any("embedding" in name for name in stored)
    assert json.loads((folder / "config.json").read_text())["base"]["name"] == str(base.resolve())
    model = ReactiveTransformer.from_pretrained(folder)
    card = (folder / "README.md").read_text()
    assert model.fingerprint() in card
    assert f"- base: {base.resolve()} (fingerprint " in card
    assert model.config.trained_turns == 4
    checkpoint = load_file(tmp_path / "run" / "adaptation" / "step-000006" / "weights.safetensors")
    for name, tensor in checkpoint.items():
        assert torch.equal(tensor, stored[name.removeprefix("model.")]), name


def test_a_base_learns_to_go_on_answering_as_it_does(tmp_path: Path) -> None:
    keep = KeepConfig(interactions=3, batch_size=2, weight=1e6)  # nothing else counts
    optim = replace(OPTIM, learning_rate=5e-3, warmup=2)
    config = replace(CONFIG, keep=keep, phases=(Phase(40, 2, 2, MEMORY),), optim=optim)
    trained = replace(stage(config), own=OwnWords(tmp_path / "own.json", keep, 0))
    subject = trained.learner_for(learner())
    optimizer = make_optimizer(subject, config.optim)
    changes = [float(update(trained, subject, optimizer, 0, step)[0].metrics["change"]) for step in range(40)]
    assert changes[0] > 0.1
    assert sum(changes[-5:]) < sum(changes[:5]) / 2
    stored = (tmp_path / "own.json").read_bytes()
    again = OwnWords(tmp_path / "own.json", keep, 0)
    again.make(learner().model, template())
    assert again.of_step("train", 7) == trained.own.of_step("train", 7)  # type: ignore[union-attr]
    assert (tmp_path / "own.json").read_bytes() == stored


def test_a_single_answer_is_kept_out_of_fresh_and_of_used_memories() -> None:
    fresh, used = torch.zeros(2, 3, 4, 8), torch.arange(1.0, 4).view(1, 3, 1, 1).expand(2, 3, 4, 8)
    generator, found = torch.Generator().manual_seed(0), Counter[float]()
    for _ in range(200):
        memory = some_memories(Walked([fresh, used]), 1, generator)
        assert memory.shape == (2, 1, 4, 8)
        found[float(memory.unique().item())] += 1
    assert set(found) == {0.0, 1.0, 2.0, 3.0}
    assert 130 < found[0.0] < 170  # half of them, and those that happen to be picked


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    run = replace(tiny_run(store_base(tmp_path / "base")), keep_checkpoints=9)
    whole = load_file(train(run, tmp_path / "whole", quiet()) / "model.safetensors")
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    for name in ("model", "adaptation/step-000006"):
        shutil.rmtree(tmp_path / "stopped" / name)
    resumed = load_file(train(run, tmp_path / "stopped", quiet()) / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_base_that_is_gone_or_another_one(tmp_path: Path) -> None:
    base = store_base(tmp_path / "base")
    run = tiny_run(base)
    base.rename(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"run: needs its base, .*base \(fingerprint .*\); looked for as .*no such folder"
    ):
        train(run, tmp_path / "run", quiet())
    with pytest.raises(UserError, match="the recipe adapt gives a pre-trained model a memory; name that: --base PATH"):
        train(recipe("adapt"), tmp_path / "none", quiet())


def test_the_command(tmp_path: Path) -> None:
    base = store_base(tmp_path / "base")
    phases = 'adaptation.phases=[{"steps": 1, "turns": 2, "batch_size": 2, "trains": ["memory_attention"]}]'
    argv = ["adapt", "--base", str(base), "--slots", "4", "--memory-layers", "2", "3", "--lora-rank", "2"]
    assert train_command([*argv, "--set", phases, "--set", "adaptation.keep=null", "--out", str(tmp_path / "run")]) == 0
    model = ReactiveTransformer.from_pretrained(tmp_path / "run" / "model")
    assert model.config.memory_shape == (2, 4, 32)
    assert any("lora_up" in name for name in load_file(tmp_path / "run" / "model" / "model.safetensors"))
    with pytest.raises(UserError, match="adapt: gives a pre-trained model a memory; name it with --base PATH"):
        train_command(["adapt"])
    with pytest.raises(UserError, match="the recipe smoke builds on no pre-trained model"):
        train_command(["smoke", "--base", str(base)])
