"""A run: its folder, its stages one after another, and the model that comes out.

::

    runs/pocket/
      run.json            the resolved configuration
      tokenizer.json      stage 0
      1-joint/            checkpoints, metrics.jsonl, stage.json (its parent and configuration)
      2-interaction/      …
      curves.png          every stage's curves, where matplotlib is installed
      model/              the result: config.json, model.safetensors, tokenizer.json, README.md
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from rich.console import Console

from rxt.baselines.config import BaselineKind
from rxt.baselines.model import Baseline, baseline_like
from rxt.config import RxTConfig
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.folders import TOKENIZER, model_folder
from rxt.interop.layouts import load_pretrained
from rxt.model.checkpoint import save_model
from rxt.model.reactive import ReactiveTransformer
from rxt.training.card import model_card
from rxt.training.config import RunConfig
from rxt.training.config_base import RecallConfig
from rxt.training.corpus import Corpus
from rxt.training.curves import plot_curves
from rxt.training.interrupt import interruptible
from rxt.training.learner import BaselineLearner, Learner, ReactiveLearner
from rxt.training.loop import LoopContext, run_stage
from rxt.training.metrics import progress_display, say
from rxt.training.preference.corpus import PreferenceCorpus
from rxt.training.preference.reference import Reference
from rxt.training.preference.stage import NAME as PREFERENCE
from rxt.training.preference.stage import PreferenceStage
from rxt.training.process_group import ProcessGroup, join_process_group
from rxt.training.recall import RecallProbe
from rxt.training.reinforcement.evaluator import RewardProbe
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.reinforcement.rewards import reward_of
from rxt.training.stages.base import Stage
from rxt.training.stages.baseline import BaselineConversationStage, BaselineTextStage
from rxt.training.stages.interaction import InteractionStage
from rxt.training.stages.joint import JointStage
from rxt.training.stages.memory_aware import MemoryAwareStage
from rxt.training.stages.memory_pretrain import MemoryPretrainStage
from rxt.training.stages.reinforcement import ReinforcementStage

Ends = Mapping[str, int]
"""By stage, the step whose weights it ended with."""
RUN, MODEL, CURVES = "run.json", "model", "curves.png"


def train(run: RunConfig, out: Path, console: Console, device: torch.device | None = None) -> Path:
    """Do every stage that has not been done, from where the last one stopped; return the model's folder."""
    device = device or torch.device("cpu")
    if run.further and run.start is None:
        raise UserError(f"the recipe {run.name} goes on from a trained model; name it: start, or --from MODEL")
    try:
        with join_process_group(device) as process_group:
            if not process_group.is_main_process:
                return _train(run, out, Console(quiet=True), device, process_group)
            with locked(out):
                return _train(run, out, console, device, process_group)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise UserError(
            f"{out}: {reason}; what was checkpointed is whole, and the same command goes on from there"
        ) from None


def _train(run: RunConfig, out: Path, console: Console, device: torch.device, process_group: ProcessGroup) -> Path:
    if process_group.is_main_process:
        check_claim(out, run)
    corpus = Corpus.load(run.data, run.seed)
    wanted = run.preference
    preferences = (
        None if wanted is None else PreferenceCorpus.load(run.data, wanted.rejected, run.seed, wanted.neutral_rate)
    )
    for warning in corpus.warnings():
        say(console, f"warning: {warning}", "yellow")
    if not process_group.is_main_process:
        process_group.barrier()
    tokenizer = train_tokenizer(run, corpus, out / TOKENIZER, console)
    template = Template.of_model(run.model, tokenizer)
    cut = corpus.count_cut(template)
    if cut:
        say(console, f"warning: {cut} interactions are longer than {template.max_length} tokens and are cut", "yellow")
    if preferences is not None:
        preferences, alike = preferences.differing(template)
        if alike:
            say(console, f"warning: {alike} pairs are alike in the model's tokens and are only memorized", "yellow")
    if process_group.is_main_process:
        claim(out, run, tokenizer)
        process_group.barrier()
    run = replace(run, model=run_model(run, tokenizer))
    torch.manual_seed(run.seed)
    if run.baseline is not None:
        work = baseline_work(run, run.baseline, corpus, template)
    else:
        work = reactive_work(run, corpus, preferences, template, out)
    learner = work.learner.to(device)
    parent, ends = TOKENIZER, dict[str, int]()
    with interruptible() as interrupt, progress_display(console) as progress:
        context = LoopContext(run, out, console, progress, interrupt, process_group)
        for stage in work.stages:
            if stage.steps and stage.optim.accumulate < process_group.world_size:
                raise UserError(
                    f"{stage.name}: {process_group.world_size} workers need optim.accumulate of at least "
                    f"{process_group.world_size} in every stage"
                )
            config = TypeAdapter(type(stage.config)).dump_python(stage.config, mode="json")
            if process_group.is_main_process:
                write_json(out / stage.name / "stage.json", {"parent": parent, "config": config})
            ends[stage.name] = run_stage(stage, learner_of(stage, learner), context)
            parent = f"{stage.name}/step-{ends[stage.name]:06d}"
    if not process_group.is_main_process:
        return out / MODEL
    work.save(out / MODEL, ends)
    tokenizer.save(out / MODEL / TOKENIZER)
    plot_curves(out, out / CURVES)
    next_step = (
        f"talk to it with  rxt chat {out / MODEL}"
        if run.baseline is None
        else f"measure it with  rxt eval retention {out / MODEL}"
    )
    say(console, f"The model is in {out / MODEL}: {next_step}")
    return out / MODEL


@dataclass(frozen=True)
class Work:
    """What a run trains: by which stages, and how the result is written into a folder."""

    learner: Learner
    stages: list[Stage]
    save: Callable[[Path, Ends], None]


def reactive_work(
    run: RunConfig, corpus: Corpus, preferences: PreferenceCorpus | None, template: Template, out: Path
) -> Work:
    """A Reactive Transformer by its whole curriculum."""
    learner = ReactiveLearner(ReactiveTransformer(run.model) if run.start is None else started_model(run, run.start))
    began = learner.model.fingerprint() if run.start else None

    def save(folder: Path, ends: Ends) -> None:
        save_model(learner.model, folder)
        write_atomically(folder / "README.md", model_card(run, folder.parent, learner.model, ends, began).encode())

    stages: list[Stage] = [
        JointStage(corpus, template, run.joint),
        InteractionStage(corpus, template, run.interaction),
        MemoryPretrainStage(corpus, template, run.memory_pretrain),
        MemoryAwareStage(corpus, template, run.memory_aware),
    ]
    if run.reinforcement is not None:
        config, reward = run.reinforcement, reward_of(run.reinforcement.reward)
        evaluator = recall_evaluator(run, config.recall, template) or RewardProbe(
            config.recall, corpus, template, config, reward
        )
        stages.append(ReinforcementStage(corpus, template, config, reward, evaluator))
    if run.preference is not None and preferences is not None:
        reference, evaluator = (
            Reference(out / PREFERENCE / "reference"),
            recall_evaluator(run, run.preference.recall, template),
        )
        stages.append(PreferenceStage(preferences, template, run.preference, reference, evaluator))
    return Work(learner, stages, save)


def learner_of(stage: object, learner: Learner) -> Learner:
    """What a stage trains: the learner itself, or the learner's model with what the stage needs beside it."""
    if isinstance(stage, ReinforcementStage) and isinstance(learner, ReactiveLearner):
        return ReinforcementLearner(learner, stage.config.has_critic)
    return learner


def recall_evaluator(run: RunConfig, recall: RecallConfig | None, template: Template) -> RecallProbe | None:
    """Asks for facts as generated conversations tell them; a run without such conversations has no such evaluator."""
    task = run.data.judged
    return None if recall is None or task is None else RecallProbe.of_mix(recall, template, task, run.seed)


def run_model(run: RunConfig, tokenizer: ChatTokenizer) -> RxTConfig:
    """The configuration of the run's model, which takes the tokenizer's vocabulary unless it has its weights
    already."""
    if run.start is not None:
        return replace(run.model, trained_turns=max(run.longest, run.model.trained_turns or 0))
    return replace(run.model.with_vocabulary(tokenizer.vocab_size, tokenizer.tokens), trained_turns=run.longest)


def started_model(run: RunConfig, start: str) -> ReactiveTransformer:
    """The model that the run goes on with; its weights must be of the run's configuration."""
    folder = model_folder(start)
    model = load_pretrained(folder)
    adapter = TypeAdapter(RxTConfig)
    found, wanted = (
        adapter.dump_python(replace(config, trained_turns=None), mode="json") for config in (model.config, run.model)
    )
    different = first_difference(found, wanted, "model")
    if different:
        raise UserError(
            f"{folder}: another model than the run's: {different}; leave the model as it is to go on from its weights"
        )
    model.config = run.model
    return model


def baseline_work(run: RunConfig, kind: BaselineKind, corpus: Corpus, template: Template) -> Work:
    """A baseline of the run's model's size, on the same data in the same order; it has no stage 3."""
    learner = BaselineLearner(Baseline(baseline_like(run.model, kind, run.memory_aware.longest)))
    stages: list[Stage] = [
        BaselineTextStage(JointStage(corpus, template, run.joint)),
        BaselineTextStage(InteractionStage(corpus, template, run.interaction)),
        BaselineConversationStage(MemoryAwareStage(corpus, template, run.memory_aware)),
    ]
    return Work(learner, stages, lambda folder, _: learner.model.save_pretrained(folder))


def train_tokenizer(run: RunConfig, corpus: Corpus, path: Path, console: Console) -> ChatTokenizer:
    """Stage 0: byte-level BPE on every training text; an earlier start's is read back."""
    if path.exists():
        return ChatTokenizer.load(path)
    if run.start is not None:
        return ChatTokenizer.load(model_folder(run.start), run.model.tokens)
    say(console, "0-tokenizer  reading every training text")
    return ChatTokenizer.train(
        corpus.all_text(run.tokenizer.conversations), run.tokenizer.vocab_size, run.model.template
    )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the run's folder: one process at a time."""
    make_folder(out)
    lock = FileLock(out / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{out}: another process is training there; wait for it or choose another --out") from None
    except OSError as error:
        raise UserError(f"{out}: the folder cannot be written to ({error.strerror}); choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def check_claim(out: Path, run: RunConfig) -> None:
    """Refuse a folder that holds another run, or other files."""
    path = out / RUN
    if not path.exists():
        others = sorted(child.name for child in out.iterdir() if not child.name.startswith("."))
        if others:
            raise UserError(
                f"{out}: the folder is not empty (it holds {others[0]}) and holds no run; choose another --out"
            )
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    different = first_difference(found, TypeAdapter(RunConfig).dump_python(run, mode="json"))
    if different:
        raise UserError(
            f"{out}: holds another run: {different}; choose another --out, or the options it was started with"
        )


def claim(out: Path, run: RunConfig, tokenizer: ChatTokenizer) -> None:
    """Make the folder this run's for good: its configuration, then stage 0. Data that cannot be used never gets
    here."""
    if not (out / RUN).exists():
        write_json(out / RUN, TypeAdapter(RunConfig).dump_python(run, mode="json"))
    if not (out / TOKENIZER).exists():
        tokenizer.save(out / TOKENIZER)


def first_difference(found: object, wanted: object, where: str = "") -> str | None:
    """The first field in which two JSON values differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            different = first_difference(found.get(key), wanted.get(key), f"{where}.{key}" if where else key)
            if different:
                return different
        return None
    return None if found == wanted else f"{where} was {found!r:.80}, now {wanted!r:.80}"


def write_json(path: Path, values: object) -> None:
    """Write JSON whole or not at all."""
    make_folder(path.parent)
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())
