"""How far the losses of several processes lie from those of one, over fifty updates of every stage.

    python benchmarks/processes.py --out /tmp/processes

trains small models: in one process, then in two and in four, with the whole model in each process and with a part of
it. Stages 1 to 4 learn from conversations of one to five turns; preferences and a classifier of texts go on from what
these have made, rewards and fragments from the bundled model; a random base gets a memory. It prints the largest
relative difference of each stage's losses. Of rewards it compares the policy's entropy, because their loss is near zero
whatever the policy does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import save_file
from torch import nn

from rxt.cli.main import main as rxt
from rxt.config import AttentionConfig, DecoderConfig, FeedForwardConfig
from rxt.data.tokenizer import ChatTokenizer
from rxt.interop.llama import places
from rxt.model.decoder import Decoder

CURRICULUM = ("joint", "interaction", "memory_pretrain", "memory_aware")
EVERYDAY = 'data.conversations=[{"kind": "task", "name": "everyday"}]'


@dataclass(frozen=True)
class Options:
    """Where the runs go, and how long they are."""

    out: Path
    steps: int = 50
    """Updates of every stage."""
    workers: tuple[int, ...] = (2, 4)
    """Numbers of processes that are compared with one."""
    only: tuple[str, ...] = ()
    """Of the further runs; all when not given. The curriculum always runs, since they go on from it."""


@dataclass(frozen=True)
class Run:
    """A command that trains some stages, and what is compared of their updates."""

    name: str
    words: Sequence[str]
    stages: Sequence[str]
    """Those that share their updates by ``accumulate``."""
    settings: Sequence[str]
    number: str = "loss"


def runs(options: Options) -> list[Run]:
    """All of them; the others go on from what the first has made."""
    steps, trained = options.steps, str(options.out / "curriculum" / "one" / "model")
    talks = ("--data", str(options.out / "talks.jsonl"), "--everyday-share", "0")
    texts = ("--data", str(options.out / "texts.jsonl"))
    lengths = [f"{stage}.steps={steps}" for stage in CURRICULUM[:3]]
    short_answers = [f"reinforcement.{each}" for each in ("longest_answer=5", "recall.questions=2", "recall.special=0")]
    # a random base has nothing to say that could be kept, and bfloat16 makes a thousandth of a last digit
    exact = ("adaptation.keep=null", "adaptation.precision=float32")
    memory, readers = ["decoder", "memory_attention"], ["decoder", "encoder"]

    def plain(stage: str) -> str:
        """AdamW: Muon orthogonalises in bfloat16, which makes more of every last digit."""
        return f"{stage}.optim.kind=adamw"

    return [
        Run(
            "curriculum",
            ("smoke", *talks),
            CURRICULUM,
            (*lengths, phases("memory_aware", steps), "tokenizer.conversations=40"),
        ),
        Run(
            "preference",
            ("dmpo", "--from", trained),
            ("preference",),
            (f"preference.steps={steps}", "preference.batch_size=4", "preference.turns=3", "preference.recall=null"),
        ),
        Run(
            "reinforcement",
            ("mrl", "--from", "bundled"),  # one that answers: a silent one has nothing to be rewarded for
            ("reinforcement",),
            (phases("reinforcement", steps), *short_answers, "reinforcement.recall.distances=[1,2]"),
            number="entropy",
        ),
        Run(
            "retrieval",
            ("open", *talks),
            ("retrieval",),
            (
                phases("retrieval", steps, readers),
                "memory_aware=null",
                plain("retrieval"),
                "retrieval.optim.learning_rate=5e-4",  # with four times as much, last digits grow by a fifth an update
                "tokenizer.conversations=40",
                "model.decoder.layers=2",
                "model.encoder.layers=2",
                "model.memory_attention.layers=2",
            ),
        ),
        Run(
            "fragments",
            ("fragments", "--from", "bundled"),
            ("fragments",),
            (phases("fragments", steps), plain("fragments"), EVERYDAY),
        ),
        Run(
            "adaptation",
            ("adapt", "--base", str(options.out / "base"), "--slots", "16"),
            ("adaptation",),
            (phases("adaptation", steps, memory), *exact, EVERYDAY),
        ),
        Run("classify", ("classify", "--from", trained, *texts, "--batch-size", "16", "--epochs", str(steps)), (), ()),
    ]


def phases(stage: str, steps: int, trains: Sequence[str] | None = None) -> str:
    """Two phases of so many updates together, of conversations of other lengths."""
    parts = {} if trains is None else {"trains": list(trains)}
    both = ((steps - steps // 2, 5), (steps // 2, 3))
    return f"{stage}.phases=" + json.dumps(
        [{"steps": updates, "turns": turns, "batch_size": 4, **parts} for updates, turns in both]
    )


def uneven_talks(path: Path) -> None:
    """Conversations of one to five turns."""
    talks = [
        [{"query": f"{name} asks {turn}", "answer": f"{turn} says {name}"} for turn in range(1 + name % 5)]
        for name in range(100)
    ]
    path.write_text("".join(json.dumps({"interactions": talk}) + "\n" for talk in talks), encoding="utf-8")


def labelled_texts(path: Path) -> None:
    """As many as an update takes, of uneven length; more of one class, since a gradient that is 0 but for rounding says
    nothing."""
    labels = {"dog": "animal", "cow": "animal", "cat": "animal", "spoon": "thing"}
    texts = [
        {"text": "look, " * number + f"the {word}", "label": label}
        for number in range(4)
        for word, label in labels.items()
    ]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")


def random_base(folder: Path, tokenizer: Path) -> None:
    """A model of the Llama family with random weights, as it is published."""
    words, width, layers, length = ChatTokenizer.load(tokenizer).vocab_size, 32, 5, 96
    attention = AttentionConfig(4, 4, 2, output_bias=False, rope_base=50_000.0)
    feed_forward = FeedForwardConfig(48, bias=False)
    config = DecoderConfig(
        words,
        width,
        layers,
        attention,
        attention,
        feed_forward,
        length,
        head_norm="rms",
        norm_eps=1e-5,
        head_bias=False,
        tied_head=True,
        memory_layers=(),
    )
    torch.manual_seed(0)
    decoder = Decoder(config, nn.Embedding(words, width))
    folder.mkdir(exist_ok=True)
    save_file(
        {name: each.detach().clone().contiguous() for name, each in places(decoder).items()},
        folder / "model.safetensors",
    )
    values = {
        "model_type": "llama",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": feed_forward.dim,
        "num_hidden_layers": layers,
        "num_attention_heads": attention.query_heads,
        "num_key_value_heads": attention.kv_heads,
        "max_position_embeddings": length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": attention.rope_base,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(values))
    shutil.copy(tokenizer, folder / "tokenizer.json")
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("bos", "eos", "pad")}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))


def curves(run: Run, out: Path, workers: int, parallel: str, parts: int) -> dict[str, list[float]]:
    """What is compared of every update, by stage. ``parts``: micro-batches of an update."""
    settings = [*run.settings, *(f"{stage}.optim.accumulate={parts}" for stage in run.stages)]
    settings += ["log_every=1", "validation_batches=1"] if run.stages else []
    words = ["train", *run.words, "--out", str(out), "--workers", str(workers), "--parallel", parallel]
    assert rxt([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    found = dict[str, list[float]]()
    for log in sorted(out.glob("*/metrics.jsonl")):
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found[log.parent.name] = [line[run.number] for line in lines if line["split"] == "train"]
    return found


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options.out.mkdir(parents=True)
    uneven_talks(options.out / "talks.jsonl")
    labelled_texts(options.out / "texts.jsonl")
    most = max(options.workers)
    further = options.only or tuple(run.name for run in runs(options))
    for run in runs(options):
        if run.name not in ("curriculum", *further):
            continue
        folder = options.out / run.name
        one = curves(run, folder / "one", 1, "replicate", most)
        if run.name == "curriculum":
            random_base(options.out / "base", folder / "one" / "tokenizer.json")
        for workers in options.workers:
            for parallel in ("replicate", "shard"):
                several = curves(run, folder / f"{workers}-{parallel}", workers, parallel, most)
                for stage, expected in one.items():
                    pairs = list(zip(several[stage], expected, strict=True))
                    furthest = max(abs(found - wanted) / abs(wanted) for found, wanted in pairs)
                    print(f"{workers} processes, {parallel}, {stage}, {len(pairs)} updates: {furthest:.1e}", flush=True)


if __name__ == "__main__":
    main()
