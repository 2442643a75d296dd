"""A run: its folder, its stages one after another, and the model that comes out.

::

    runs/pocket/
      run.json            the resolved configuration
      data.json           digests of the files and folders that were read, and how long they are
      tokenizer.json      stage 0
      1-joint/            checkpoints, metrics.jsonl, stage.json (parent, configuration, type of products)
      2-interaction/      …
      encoder/            the encoder alone, with its MLM head, as the last stage leaves them that trains both
      curves.png          every stage's curves, where matplotlib is installed
      model/              the result: config.json, model.safetensors, tokenizer.json, README.md
"""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from rich.console import Console

from rxt.data.prepared.index import read_tokenizer
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import MODEL, TOKENIZER, model_folder
from rxt.interop.base_tokenizer import load_base_tokenizer
from rxt.interop.on_base import load_tokenizer, sought
from rxt.training.config import RunConfig
from rxt.training.corpus import Corpus
from rxt.training.curves import plot_curves
from rxt.training.faster_products import choose_products, noted_products
from rxt.training.interrupt import interruptible
from rxt.training.loop import LoopContext, run_stage
from rxt.training.metrics import progress_display, say
from rxt.training.precision import Dtype, products_of
from rxt.training.prepared_sources import check_tokenizer
from rxt.training.process_group import PATIENCE, ProcessGroup, join_process_group, own_device
from rxt.training.run_folder import CURVES, ENCODER, STAGE, DataNote, check_claim, claim, locked, noted_data, write_json
from rxt.training.stages.adaptation import AdaptationConfig
from rxt.training.stages.base import StageContext
from rxt.training.stages.registry import build_stage, plain_values
from rxt.training.together import Parallel
from rxt.training.work import baseline_work, reactive_work, run_model


def train(
    run: RunConfig,
    out: Path,
    console: Console,
    device: torch.device | None = None,
    parallel: Parallel = "replicate",
    dtype: Dtype | None = None,
    compiled: bool = False,
    patience: timedelta = PATIENCE,
) -> Path:
    """Do every stage that has not been done, from where the last one stopped; return the model's folder. How it is
    done is no part of the run, like the device and the number of processes.

    Args:
        parallel: what each of several processes holds.
        dtype: the type that products are computed in; as the device does by itself when not given.
        compiled: whether updates run compiled layers.
        patience: how long processes wait for one that is slow.
    """
    device = own_device(device or torch.device("cpu"))
    if run.needs_start:
        raise UserError(f"the recipe {run.name} goes on from a trained model; name it: start, or --from MODEL")
    if run.needs_base:
        raise UserError(f"the recipe {run.name} gives a pre-trained model a memory; name that: --base PATH")
    if dtype is not None and any(isinstance(stage, AdaptationConfig) for stage in run.stages):
        raise UserError("--dtype: a stage on a base has a type of its own: --set adaptation.precision=float32")
    try:
        with join_process_group(device, patience) as process_group:
            if not process_group.is_main_process:
                return _train(run, out, Console(quiet=True), device, process_group, parallel, dtype, compiled)
            with locked(out):
                return _train(run, out, console, device, process_group, parallel, dtype, compiled)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        named = Path(error.filename) if isinstance(error.filename, str) else out
        where = out if named.is_relative_to(out) else named
        raise UserError(
            f"{where}: {reason}; what was checkpointed is whole, and the same command goes on from there"
        ) from None


def _train(
    run: RunConfig,
    out: Path,
    console: Console,
    device: torch.device,
    process_group: ProcessGroup,
    parallel: Parallel,
    dtype: Dtype | None,
    compiled: bool,
) -> Path:
    if process_group.is_main_process:
        check_claim(out, run)
    corpus = Corpus.load(run.data, run.seed)
    warnings = corpus.warnings()
    if not process_group.is_main_process:
        process_group.barrier()
    noted, digests = noted_data(out), corpus.digests()
    if noted is not None:
        noted.check(out, digests)
    tokenizer = train_tokenizer(run, corpus, out / TOKENIZER, console)
    template = Template.of_model(run.model, tokenizer)
    check_tokenizer(corpus.prepared, template, run.start or str(out / TOKENIZER))
    lengths = corpus.lengths(template) if noted is None else noted.lengths
    too_long = lengths.warning(template.max_length, run.data.long)
    warnings += [] if too_long is None else [too_long]
    context = StageContext(corpus, template, run.data, run.seed, out, warnings.append)
    stages = [build_stage(config, context) for config in run.stages]
    for line in corpus.read():
        say(console, line)
    for warning in warnings:
        say(console, f"warning: {warning}", "yellow")
    if process_group.is_main_process:
        claim(out, run, tokenizer, DataNote(digests, lengths))
        process_group.barrier()
    run = replace(run, model=run_model(run, tokenizer))
    torch.manual_seed(run.seed)
    work = reactive_work(run, stages) if run.baseline is None else baseline_work(run, run.baseline, stages)
    # what is sharded is a copy, so a GPU holds its part alone
    learner = work.learner.to("cpu" if parallel == "shard" and process_group.world_size > 1 else device)
    parent, ends = TOKENIZER, dict[str, int]()
    with interruptible() as interrupt, progress_display(console) as progress:
        shared = LoopContext(
            run, out, console, progress, interrupt, process_group, parallel, compiled, device, run.loader_processes
        )
        for part in work.stages:
            stage = part.stage
            if stage.steps and stage.optim.accumulate < process_group.world_size:
                raise UserError(
                    f"{stage.name}: {process_group.world_size} workers need optim.accumulate of at least "
                    f"{process_group.world_size} in every stage"
                )
            trained, note, products = part.learner_for(learner), out / stage.name / STAGE, products_of(device)
            if process_group.is_main_process:
                products = noted_products(note, dtype) or choose_products(stage, trained, run.seed, dtype, console)
                write_json(note, {"parent": parent, "config": plain_values(part.config), "products": products})
            products = process_group.from_main(products)
            ends[stage.name] = run_stage(stage, trained, replace(shared, products=products))
            if part.save_encoder is not None and process_group.is_main_process:
                part.save_encoder(out / ENCODER)
                tokenizer.save(out / ENCODER / TOKENIZER)
            parent = f"{stage.name}/step-{ends[stage.name]:06d}"
    if not process_group.is_main_process:
        return out / MODEL
    work.save(out / MODEL, ends)
    tokenizer.save(out / MODEL / TOKENIZER)
    plot_curves(out, {part.stage.name: part.curve for part in work.stages}, out / CURVES)
    next_step = (
        f"talk to it with  rxt chat {out / MODEL}"
        if run.baseline is None
        else f"measure it with  rxt eval retention {out / MODEL}"
    )
    say(console, f"The model is in {out / MODEL}: {next_step}")
    return out / MODEL


def train_tokenizer(run: RunConfig, corpus: Corpus, path: Path, console: Console) -> ChatTokenizer:
    """Stage 0: byte-level BPE on every training text; an earlier start's is read back."""
    base = run.model.base
    if path.exists():
        return ChatTokenizer.load(path, None if base is None else run.model.tokens)
    if run.start is not None:
        return load_tokenizer(model_folder(run.start), run.model)
    if base is not None:
        with sought(base, "the run"):
            tokenizer = load_base_tokenizer(base.name, base.revision)
        return tokenizer.having(run.model.tokens)
    if corpus.prepared:
        return read_tokenizer(corpus.prepared[0].path, corpus.prepared[0].index.plan)
    say(console, "0-tokenizer  reading every training text")
    return ChatTokenizer.train(
        corpus.all_text(run.tokenizer.conversations),
        run.tokenizer.vocab_size,
        run.model.template,
        run.tokenizer.case_marks,
        run.tokenizer.piece_length,
    )
