"""Timing of answers and of memory updates: what a conversation waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.bench.cost import decode_step, memorize
from rxt.bench.machine import Limits, measure_limits, seconds, wait_for
from rxt.bench.parts import BETWEEN, Part, marked, parts_of
from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.evaluation.latency import Seconds
from rxt.generation.compiled import pays
from rxt.generation.generate import generate_tokens
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

Report = Callable[[], None]
"""Hears of every call that is done."""


@dataclass(frozen=True)
class Setting:
    """What every timing is made under."""

    repeats: int = 5
    """Calls that count; the median is reported."""
    warm_up: int = 1
    """Calls before them that do not; the very first call, of which the time is reported apart, is not one of them."""
    seed: int = 1


@dataclass(frozen=True)
class DecodeResult:
    """Answers of ``new_tokens`` to prompts of ``prompt_tokens``, B conversations at once: the JSON of ``rxt bench
    decode``."""

    batch_size: int
    prompt_tokens: int
    new_tokens: int
    compiled: bool
    tokens_per_second: float
    """Of whole answers, all conversations together: the reading of memory and prompt is in it."""
    steps_per_second: float
    """Steps after the first token; each makes one token for every conversation."""
    answer: Seconds
    """One call, from the query to the last token."""
    first_token: Seconds
    """From the query to the first token."""
    first_use_seconds: float
    """The first call of all: with ``compiled``, what compiling or loading what was compiled before takes."""
    bytes_per_token: float
    """That a step must read at least, from the configuration, divided by B."""
    flops_per_token: float
    bound_steps_per_second: float
    """If reading and multiplying went as fast as this machine can."""
    share: float
    """Of that bound, reached by ``steps_per_second``."""
    limits: Limits


@dataclass(frozen=True)
class MemorizeResult:
    """Updates of B memories by interactions of ``tokens``: the JSON of ``rxt bench memorize``."""

    batch_size: int
    tokens: int
    seconds: float
    """The median."""
    update: Seconds
    """One call that updates all B memories."""
    first_use_seconds: float
    flops: float
    """Of one call, from the configuration."""
    bytes: float
    bound_seconds: float
    share: float
    limits: Limits
    parts: tuple[Part, ...]
    """Where the time of one more call goes, on a processor; none on a GPU."""


def random_ids(config: RxTConfig, rows: int, tokens: int, seed: int, device: torch.device) -> Tensor:
    """(rows, tokens) of ordinary tokens: cost does not depend on what is said."""
    special = {token for token in vars(config.tokens).values() if token is not None}
    words = torch.tensor([token for token in range(config.decoder.vocab_size) if token not in special])
    generator = torch.Generator().manual_seed(seed)
    return words[torch.randint(len(words), (rows, tokens), generator=generator)].to(device)


@torch.no_grad()
def bench_decode(
    model: ReactiveTransformer,
    batch_size: int,
    prompt_tokens: int,
    new_tokens: int,
    compiled: bool,
    setting: Setting,
    weight_bytes: float | None = None,
    report: Report = lambda: None,
) -> DecodeResult:
    """Time greedy answers that do not stop at [EOS]. ``weight_bytes``: of one weight, where they are stored in fewer
    than the rest."""
    config, weight = model.config, model.decoder.embedding.weight
    check_fits("--prompt-tokens and --new-tokens", prompt_tokens, new_tokens, config)
    if new_tokens < 2:
        raise UserError(f"--new-tokens {new_tokens}: must be at least 2, so that there is a step to time")
    limits = measure_limits(weight.dtype, weight.device)
    compiled = compiled and pays(batch_size, weight.device)
    ids = random_ids(config, batch_size, prompt_tokens, setting.seed, weight.device)
    memory = model.init_memory(batch_size, setting.seed)

    def answer() -> tuple[float, float]:
        """Seconds to the first and to the last token."""
        wait_for(weight.device)
        began, times = time.perf_counter(), []
        for tokens in generate_tokens(model, ids, memory, new_tokens, stop_at_eos=False, compiled=compiled):
            tokens.tolist()  # as who reads the answer does
            times.append(time.perf_counter() - began)
        report()
        return times[0], times[-1]

    _, first_use = answer()
    for _ in range(setting.warm_up):
        answer()
    times = [answer() for _ in range(setting.repeats)]
    first, last = Seconds.of([first for first, _ in times]), Seconds.of([last for _, last in times])
    steps = (new_tokens - 1) / Seconds.of([last - first for first, last in times]).median
    size = weight.element_size()
    work = decode_step(
        config, batch_size, prompt_tokens + new_tokens / 2, size, size if weight_bytes is None else weight_bytes
    )
    bound = 1 / limits.decode_seconds(work, batch_size)
    return DecodeResult(
        batch_size,
        prompt_tokens,
        new_tokens,
        compiled,
        batch_size * new_tokens / last.median,
        steps,
        last,
        first,
        first_use,
        work.bytes / batch_size,
        work.flops / batch_size,
        bound,
        steps / bound,
        limits,
    )


@torch.no_grad()
def bench_memorize(
    model: ReactiveTransformer,
    batch_size: int,
    tokens: int,
    setting: Setting,
    report: Report = lambda: None,
    dtype: torch.dtype | None = None,
) -> MemorizeResult:
    """Time the update that stands between an answer and the next query: encoder and memory attention.

    ``dtype``: of products, where it is another than that of the model's weights.
    """
    config, weight = model.config, model.decoder.embedding.weight
    check_fits("--tokens", tokens, 0, config)
    dtype = weight.dtype if dtype is None else dtype
    limits = measure_limits(dtype, weight.device)
    ids = random_ids(config, batch_size, tokens, setting.seed, weight.device)
    memory = model.init_memory(batch_size, setting.seed)

    def update() -> Memory:
        made = model.memorize(memory, ids)
        report()
        return made

    first_use = seconds(update, weight.device)
    for _ in range(setting.warm_up):
        update()
    times = Seconds.of([seconds(update, weight.device) for _ in range(setting.repeats)])
    parts: tuple[Part, ...] = ()
    if weight.device.type == "cpu":
        with marked(model, ()):
            parts = parts_of(lambda: model.memorize(memory, ids), BETWEEN)
    work = memorize(config, batch_size, tokens, dtype.itemsize)
    bound = limits.product_seconds(work)
    return MemorizeResult(
        batch_size,
        tokens,
        times.median,
        times,
        first_use,
        work.flops,
        work.bytes,
        bound,
        bound / times.median,
        limits,
        parts,
    )


def check_fits(option: str, prompt: int, answer: int, config: RxTConfig) -> None:
    """Refuse interactions that the model cannot take."""
    if prompt < 1:
        raise UserError(f"{option}: at least one token is read, found {prompt}")
    if prompt + answer > config.max_length:
        raise UserError(
            f"{option}: {prompt + answer} tokens do not fit, "
            f"an interaction of this model has at most {config.max_length}"
        )
