"""What ``rxt serve`` is told, and the service that it makes of it."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.engine.sessions import Sessions
    from rxt.server.keys import Keys
    from rxt.server.service import Options as ServiceOptions
    from rxt.server.service import Service

LOCAL = ("127.0.0.1", "::1", "localhost")
LARGE_MEMORY = 10_000_000
"""Bytes of a memory from which a store without limits is worth a word."""


@dataclass(frozen=True)
class Options:
    """Offer a model over HTTP: conversations that last, as OpenAI's clients speak it, and a page to chat on."""

    model: Annotated[str | None, Positional, arg(metavar="[MODEL]", help_behavior_hint="")] = None
    """A model folder, the name of a bundled one, or owner/name on the Hugging Face Hub; without it the bundled
    model."""
    base: Annotated[str | None, arg(metavar="BASE", help_behavior_hint="")] = None
    """Where the pre-trained model is that MODEL is the memory of: a folder, a GGUF file, or owner/name on the Hub."""
    host: str = "127.0.0.1"
    """0.0.0.0 for everybody who can reach this machine."""
    port: int = 8000
    """0 takes one that is free."""
    db: str = "rxt.db"
    """Where conversations are kept: a file, or redis://HOST:PORT/NUMBER, which several servers may share."""
    name: str = ""
    """What clients call the model; by default the name of its folder, and rxt for the bundled one."""
    keys: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """API keys, one a line; more may stand in the environment as RXT_API_KEYS, with commas between. Without any, nobody
    is asked."""
    temperature: float = 0.0
    """Where a request names none."""
    places: int = 16
    """Answers that are decoded together."""
    queue: int = 256
    """Answers and memory updates that may wait; more are refused with status 503."""
    per_key: int = 64
    """Requests of one key at once; more are refused with status 429."""
    connections: int = 1000
    """Connections at once; on more, requests are refused with status 503, all but those after the server's health."""
    max_body: int = 1 << 20
    """Bytes of a request."""
    cache: int = 256
    """Megabytes of memories that are kept at hand."""
    knowledge: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """What every conversation begins with: what rxt memory build has read."""
    half_memory: bool = False
    """Keep memories in half precision, in half the space."""
    keep_days: Annotated[float | None, arg(metavar="DAYS", help_behavior_hint="")] = None
    """Forget turns that are older."""
    keep_turns: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="")] = None
    """Forget the oldest turns beyond so many."""
    keep_bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="")] = None
    """Forget the oldest turns beyond so much."""
    compile: bool = False
    """Run the steps of answers through torch.compile, on a processor of up to 4 at once. Needs a C++ compiler, and some
    minutes before it serves for the first time."""
    quantize: bool = False
    """Round the decoder's matrices to 8-bit integers."""
    updates: Literal["float32", "bfloat16", "auto"] = "float32"
    """The type that memory updates multiply in, on a processor; auto: bfloat16 where that is faster."""
    device: str = "cpu"
    """Such as cuda."""
    threads: int = 0
    """Threads of the processor; 0: as many as a model of this size can use and are free."""
    seed: int = 0
    """Of fresh memories, for models that do not fix one."""
    keep_alive: int = 75
    """Seconds for which a connection stays open on which nothing is asked."""
    grace: float = 30.0
    """Seconds for what is being answered when the server is stopped."""
    slow: float = 30.0
    """Seconds without a byte after which a client has gone."""
    memory_scope: Literal["conversation", "user"] = "conversation"
    """Of conversations that do not say it: each has a memory of its own, or those whose requests name the same user
    share one, with a model that keeps fragments."""
    long_messages: Literal["pieces", "refuse"] = "pieces"
    """What is longer than an interaction is memorized in pieces, the last of which is answered, or refused with status
    400."""
    hosts: tuple[str, ...] = ()
    """Names by which clients may call the server. Without any, at a loopback address only localhost and that address,
    elsewhere every name."""
    origins: tuple[str, ...] = ()
    """Pages of other sites that may call the server from a browser, such as https://example.com; * for all."""
    root_path: str = ""
    """The path under which a proxy offers the server, such as /rxt."""
    log_texts: bool = False
    """Log what is said too."""
    ray: bool = False
    """Serve replicas of the model by Ray: on this machine, or on the cluster that RAY_ADDRESS names. Needs the extra
    ray, and conversations in Redis. --places, --queue, --per-key and --cache are each replica's then, and --connections
    bounds requests."""
    replicas: int = 1
    """With --ray: copies of the model, each with a GPU of its own (--device cuda) or with --threads cores, else one."""
    most_replicas: int = 0
    """With --ray: up to so many, while more answers are asked for than --places; 0: always --replicas."""


def check(options: Options) -> None:
    """Refuse, with ``UserError``, values that no server can have."""
    for name in ("places", "queue", "per_key", "connections", "max_body", "cache"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, found {getattr(options, name)}")
    for name in ("keep_days", "keep_turns", "keep_bytes"):
        most = getattr(options, name)
        if most is not None and not most > 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, found {most}: nothing would be kept")
    if options.threads < 0:
        raise UserError(f"--threads must be at least 0, found {options.threads}")
    if not 0 <= options.temperature <= 2:
        raise UserError(f"--temperature must lie between 0 and 2, found {options.temperature}")
    if options.slow <= 0 or options.grace < 0 or options.keep_alive < 0:
        raise UserError("--slow must be above 0, and --grace and --keep-alive not below it")
    if not options.ray and (options.replicas != 1 or options.most_replicas):
        raise UserError("--replicas and --most-replicas need --ray")
    if options.replicas < 1 or (options.most_replicas and options.most_replicas < options.replicas):
        raise UserError(
            f"--replicas must be at least 1 and --most-replicas not below it, "
            f"found {options.replicas} and {options.most_replicas}"
        )
    if options.root_path and not options.root_path.startswith("/"):
        raise UserError(f"--root-path must begin with /, found {options.root_path!r}")
    for origin in options.origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise UserError(f"--origins takes addresses such as https://example.com, without a path; found {origin!r}")
    for name in options.hosts:
        if not name or "/" in name or re.search(r"^[^:]*:\d*$|\s|\]", name):
            raise UserError(f"--hosts takes names such as chat.example.com, without https:// or a port; found {name!r}")


def allowed_hosts(options: Options) -> frozenset[str]:
    """The names that requests may come with; none: every name."""
    if not options.hosts and options.host not in LOCAL:
        return frozenset()
    return frozenset(name.lower() for name in (*LOCAL, options.host, *options.hosts))


def name_of(options: Options) -> str:
    """The model's, for clients."""
    return options.name or (Path(options.model).name if options.model else "rxt")


def offered(options: Options) -> ServiceOptions:
    """How the service behaves."""
    from rxt.server.service import Options as ServiceOptions

    return ServiceOptions(
        name_of(options),
        options.temperature,
        options.max_body,
        options.slow,
        options.grace,
        log_texts=options.log_texts,
        hosts=allowed_hosts(options),
        origins=options.origins,
        root_path=options.root_path.rstrip("/"),
        connections=options.connections,
    )


def open_service(options: Options, keys: Keys) -> Service:
    """The service of this process, for its event loop. Loads the model and opens the store."""
    from rxt.server.service import Service

    return Service(open_sessions(options), offered(options), keys)


def open_sessions(options: Options) -> Sessions:
    """Load the model, and open the store."""
    import torch

    from rxt.cli.threads import choose_threads
    from rxt.engine.scheduler import Engine, Limits
    from rxt.engine.sessions import Rules, Sessions
    from rxt.model.parameters import parameter_counts
    from rxt.model.pool import Pool
    from rxt.model.quantize import quantize
    from rxt.model.rounded_updates import with_updates
    from rxt.pretrained import load_model
    from rxt.store.open import open_store
    from rxt.store.records import Retention

    store = open_store(options.db)
    try:
        model, tokenizer = load_model(options.model, base=options.base)
        try:
            model = model.to(options.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {options.device}: {str(error).splitlines()[0]}") from None
        torch.set_num_threads(options.threads or choose_threads(parameter_counts(model.config).decoder_active))
        model = with_updates(model, options.updates)
        if options.quantize:
            model = quantize(model)
        days = options.keep_days
        rules = Rules(
            options.seed,
            per_owner=options.per_key,
            cache_bytes=options.cache << 20,
            half_memory=options.half_memory,
            pieces=1 if options.long_messages == "refuse" else Rules.pieces,
            knowledge=None if options.knowledge is None else Pool.load(options.knowledge),
            retention=Retention(None if days is None else days * 86400, options.keep_turns, options.keep_bytes),
            scope=options.memory_scope,
        )
        limits = Limits(options.places, options.queue)
        engine = Engine(model, limits, options.compile, options.half_memory, _tell)
        sessions = Sessions(engine, tokenizer, store, rules)
    except BaseException:
        store.close()
        raise
    size = math.prod(model.config.memory_shape) * (2 if options.half_memory else 4)
    if size > LARGE_MEMORY and model.config.pool is None and rules.retention == Retention():
        _tell(
            f"every stored turn keeps a memory of up to {size / 1e6:.0f} MB, and none is ever forgotten: "
            "--keep-days, --keep-turns and --keep-bytes set limits"
        )
    return sessions


def _tell(what: str) -> None:
    print(f"rxt serve: {what}", file=sys.stderr, flush=True)


def without_password(where: str) -> str:
    """The address of a store, to be shown."""
    before, at, after = where.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at and "://" in before else where


def tell_ready(options: Options, keys: Keys, host: str, port: int, more: str = "") -> None:
    """Say where the server is, on standard output, and on standard error if everybody may use it."""
    shown = f"[{host}]" if ":" in host else host
    print(
        f"rxt serve: http://{shown}:{port} · model {name_of(options)} · "
        f"conversations in {without_password(options.db)}{more}",
        flush=True,
    )
    if not keys and options.host not in LOCAL:
        _tell("there are no API keys: whoever reaches this address can use it (--keys FILE)")
