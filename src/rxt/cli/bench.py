"""``rxt bench decode|memorize|train``: how fast this machine runs a model, beside what it could do at best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import check_least, check_one_model, parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    import torch

    from rxt.bench.inference import Setting
    from rxt.bench.machine import Limits
    from rxt.bench.parts import Part
    from rxt.bench.training import StepTimes
    from rxt.pretrained import ReactiveTransformer

File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
BYTES_A_WEIGHT = {"int8": 1.0, "int4": 0.625}
"""Of quantized matrices; of 4 bits, with the scale and the lowest value of 32 of them."""


@dataclass(frozen=True)
class Options:
    """What all benches take."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    preset: str = ""
    """Instead of a model: a size by name, with random weights; cost does not depend on them."""
    batch: int = 1
    """Conversations at once."""
    threads: int = 0
    """Threads of the processor; PyTorch decides when 0."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Of weights and products; in training, and in memory updates on a processor, bfloat16 is the type of products
    alone."""
    device: Literal["cpu", "cuda"] = "cpu"
    repeats: int = 5
    """Calls that count; the median is reported."""
    warm_up: int = 1
    """Calls that do not count, after the very first one, which is reported apart."""
    seed: int = 1
    json: File = None
    """Write the numbers there too."""


@dataclass(frozen=True)
class DecodeOptions(Options):
    """Answers: tokens a second, the time to the first token, and the share of what reading the weights allows."""

    prompt_tokens: int = 32
    new_tokens: int = 64
    compiled: bool = False
    """Run the steps through torch.compile, on a processor of up to 4 conversations; needs a C++ compiler."""
    quantize: Literal["none", "int8", "int4"] = "none"
    """The decoder's matrices as 8-bit integers; int4: as 4-bit ones, where a base's file has them so."""


@dataclass(frozen=True)
class MemorizeOptions(Options):
    """Memory updates: seconds between an answer and the next query."""

    tokens: int = 64
    """Of an interaction, query and answer together."""


@dataclass(frozen=True)
class TrainOptions(Options):
    """Training steps, joint and memory-aware: tokens a second and the highest use of memory."""

    batch: int = 4
    """Rows of the joint step, conversations of the memory-aware one."""
    turns: int = 4
    """Of a conversation."""
    tokens: int = 64
    """Of a row."""
    checkpointing: bool = False
    """Keep one turn's activations at a time in the memory-aware step."""
    compiled: bool = False
    """Run the steps through torch.compile, layer by layer; needs a C++ compiler."""
    flops_per_gpu: float | None = None
    """Operations a second of the device at best, for the utilisation (989e12 for an H100 in bfloat16); what it makes
    of a large product now when not given."""


def run(argv: list[str]) -> int:
    """Entry of the verb."""
    match argv:
        case [] | ["-h" | "--help", *_]:
            print("usage: rxt bench decode|memorize|train [MODEL] [options]\n\nrxt bench decode --help tells more.")
            return 0
        case ["decode", *rest]:
            return decode(parse_arguments(DecodeOptions, "rxt bench decode", rest))
        case ["memorize", *rest]:
            return memorize(parse_arguments(MemorizeOptions, "rxt bench memorize", rest))
        case ["train", *rest]:
            return train(parse_arguments(TrainOptions, "rxt bench train", rest))
        case [word, *_]:
            raise UserError(f"there is no bench {word!r}: there are decode, memorize and train (rxt bench --help)")
    raise AssertionError(argv)


def decode(options: DecodeOptions) -> int:
    """Time answers."""
    model, setting = _prepare(options)
    from rxt.bench.inference import bench_decode
    from rxt.model.quantize import quantize

    if options.quantize != "none":
        model = quantize(model, 8 if options.quantize == "int8" else 4)
    with progress_bar() as progress:
        task = progress.add_task("answers", total=1 + setting.warm_up + setting.repeats)
        result = bench_decode(
            model,
            options.batch,
            options.prompt_tokens,
            options.new_tokens,
            options.compiled,
            setting,
            weight_bytes=BYTES_A_WEIGHT.get(options.quantize),
            report=lambda: progress.advance(task),
        )
    table = _table()
    rate, bound = f"{result.steps_per_second:,.1f} steps/s", f"{result.bound_steps_per_second:,.1f} steps/s"
    table.add_row("after the first token", rate, bound, f"{result.share:.0%}")
    table.add_row("whole answers", f"{result.tokens_per_second:,.1f} tokens/s", "", "")
    table.add_row("first token", _milliseconds(result.first_token.median), "", "")
    table.add_row("very first call", _milliseconds(result.first_use_seconds), "", "")
    if options.compiled and not result.compiled:
        table.add_row("not compiled", f"{options.batch} at once are faster without", "", "")
    what = (
        f"{result.bytes_per_token / 1e6:,.1f} MB read and {result.flops_per_token / 1e6:,.1f} MFLOP a token, "
        "from the configuration"
    )
    _show(options, table, result.limits, what, {"quantize": options.quantize, **asdict(result)})
    return 0


def memorize(options: MemorizeOptions) -> int:
    """Time memory updates."""
    rounded = options.dtype == "bfloat16" and options.device == "cpu"
    model, setting = _prepare(options, exact_weights=rounded)
    from rxt.bench.inference import bench_memorize
    from rxt.model.rounded_updates import round_updates

    if rounded:
        model = round_updates(model)
    with progress_bar() as progress:
        task = progress.add_task("updates", total=1 + setting.warm_up + setting.repeats)
        result = bench_memorize(
            model, options.batch, options.tokens, setting, lambda: progress.advance(task), _dtype(options)
        )
    table = _table()
    table.add_row(
        "memory update", _milliseconds(result.seconds), _milliseconds(result.bound_seconds), f"{result.share:.0%}"
    )
    table.add_row("very first call", _milliseconds(result.first_use_seconds), "", "")
    what = f"{result.flops / 1e9:,.3f} GFLOP and {result.bytes / 1e6:,.1f} MB an update, from the configuration"
    _show(options, table, result.limits, what, asdict(result), (("memory update", result.parts),))
    return 0


def train(options: TrainOptions) -> int:
    """Time training steps."""
    check_least(options, ("turns", 1))
    if options.flops_per_gpu is not None and not 0 < options.flops_per_gpu < math.inf:
        raise UserError(f"--flops-per-gpu {options.flops_per_gpu:g}: must be positive")
    if options.compiled:
        from rxt.training.compiled import check_compiler

        check_compiler()
    model, setting = _prepare(options, exact_weights=options.dtype == "bfloat16")
    from rxt.bench.training import bench_train
    from rxt.training.freed_memory import keep_freed_memory

    keep_freed_memory()  # as rxt train does
    with progress_bar() as progress:
        task = progress.add_task("steps", total=2 * (1 + setting.warm_up + setting.repeats))
        result = bench_train(
            model,
            options.batch,
            options.turns,
            options.tokens,
            options.checkpointing,
            setting,
            lambda: progress.advance(task),
            options.flops_per_gpu,
            "bfloat16" if options.dtype == "bfloat16" else None,
            options.compiled,
        )
    table = _table()
    for name, times in (("joint step", result.joint), ("memory-aware step", result.memory_aware)):
        rate, bound = f"{times.tokens_per_second:,.0f} tokens/s", f"{times.bound_tokens_per_second:,.0f} tokens/s"
        table.add_row(name, rate, bound, f"{times.share:.0%}")
        table.add_row(f"  {times.tokens:,} tokens", _milliseconds(times.step.median), "", "")
        table.add_row("  model FLOPs utilisation", f"{times.utilisation:.1%}", "", "")
        table.add_row(
            "  memory peak", "not known" if times.peak_bytes is None else f"{times.peak_bytes / 2**20:,.0f} MiB", "", ""
        )
    what = "; ".join(
        f"{name}: {_work(times)}" for name, times in (("joint", result.joint), ("memory-aware", result.memory_aware))
    )
    parts = (("joint step", result.joint.parts), ("memory-aware step", result.memory_aware.parts))
    _show(options, table, result.limits, f"{what}, from the configuration", asdict(result), parts)
    return 0


def _work(times: StepTimes) -> str:
    return f"{times.flops / times.tokens / 1e6:,.0f} MFLOP a token and {times.bytes / 1e9:,.2f} GB an update"


def _prepare(options: Options, exact_weights: bool = False) -> tuple[ReactiveTransformer, Setting]:
    """Check the options, then load the model as it is to be timed, with ``exact_weights`` in float32 whatever products
    are computed in."""
    check_least(options, ("batch", 1), ("repeats", 1), ("warm_up", 0), ("threads", 0))
    check_one_model(options.model, options.preset)
    if options.json:
        check_writable(options.json)
    import torch

    from rxt.bench.inference import Setting

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no such device here")
    weights = torch.float32 if exact_weights else _dtype(options)
    model = _model(options).to(torch.device(options.device), weights).eval()
    return model, Setting(options.repeats, options.warm_up, options.seed)


def _dtype(options: Options) -> torch.dtype:
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}[options.dtype]


def _model(options: Options) -> ReactiveTransformer:
    from rxt.config import RxTConfig
    from rxt.pretrained import ReactiveTransformer, load_model

    if options.preset:
        return ReactiveTransformer(RxTConfig.preset(options.preset))
    return load_model(options.model or None)[0]


def _table() -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for heading in ("median", "bound", "share"):
        table.add_column(heading, justify="right")
    return table


def _milliseconds(seconds: float) -> str:
    return f"{1_000 * seconds:,.1f} ms"


def _parts(name: str, parts: Sequence[Part]) -> Table:
    """Where the time of a step goes."""
    table, whole = Table(box=None, header_style="bold", pad_edge=False), sum(part.seconds for part in parts)
    table.add_column(f"{name}, by part", no_wrap=True)
    for heading in ("time", "share", "products", "copies", "others", "between"):
        table.add_column(heading, justify="right")

    def add(label: str, *seconds: float) -> None:
        """First all of a row, then what it is made of."""
        table.add_row(label, _milliseconds(seconds[0]), *(f"{each / whole:.0%}" for each in seconds))

    for part in parts:
        add(part.name, part.seconds, part.products, part.moves, part.others, part.overhead)
    kinds = zip(*((part.products, part.moves, part.others, part.overhead) for part in parts), strict=True)
    add("all", whole, *map(sum, kinds))
    return table


def _show(
    options: Options,
    table: Table,
    limits: Limits,
    what: str,
    numbers: Mapping[str, object],
    parts: Sequence[tuple[str, Sequence[Part]]] = (),
) -> None:
    """Print the figures, what they are compared with and where; write them down where that is wanted."""
    import torch

    console = Console(highlight=False)
    console.print(table)
    for name, found in parts:
        if found:
            console.print(_parts(name, found))
    machine = (
        f"{limits.matmul_gflops:,.0f} GFLOP/s matrix product, {limits.matvec_gbps:.1f} GB/s matrix–vector, "
        f"{limits.read_gbps:.1f} GB/s read"
    )
    console.print(f"this machine, measured now: {machine}", style="dim")
    console.print(what, style="dim")
    setting = {
        "model": options.model or options.preset or "bundled",
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": options.dtype,
        "repeats": options.repeats,
        "torch": torch.__version__,
    }
    console.print(", ".join(f"{name} {value}" for name, value in setting.items()), style="dim")
    if options.json:
        write_numbers(options.json, {**setting, **numbers})
