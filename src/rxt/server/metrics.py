"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from rxt.engine.running import Observer
from rxt.engine.sessions import Sessions
from rxt.store.records import Stats, Turn

access = logging.getLogger("rxt.access")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Observer):
    """Counts of one server."""

    def __init__(self) -> None:
        self.log_texts = False
        """What is said is logged too."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter("rxt_requests", "Requests.", ("method", "route", "status"), registry=registry)
        self._tokens = Counter("rxt_tokens", "Tokens read and said.", ("kind",), registry=registry)
        self._turns = Counter("rxt_turns", "Turns, by how they ended.", ("end",), registry=registry)
        self._first = Histogram(
            "rxt_first_token_seconds", "From a question to its first token.", buckets=SECONDS, registry=registry
        )
        self._answer = Histogram(
            "rxt_answer_seconds", "From a question to its finished answer.", buckets=SECONDS, registry=registry
        )
        self._update = Histogram(
            "rxt_update_seconds", "Memory updates, without waiting.", buckets=SECONDS, registry=registry
        )
        self._running = Gauge("rxt_answers_running", "Answers that are being decoded.", registry=registry)
        self._waiting = Gauge("rxt_answers_waiting", "Answers that wait for a place.", registry=registry)
        self._updates = Gauge("rxt_updates_waiting", "Memory updates that are not done yet.", registry=registry)
        self._store = Gauge("rxt_store", "What the store holds.", ("what",), registry=registry)
        self._store_up = Gauge("rxt_store_up", "Whether the store answers.", registry=registry)
        for kind in ("prompt", "answer"):
            self._tokens.labels(kind)

    def request(self, method: str, route: str, status: int) -> None:
        """One is over."""
        self._requests.labels(method, route, str(status)).inc()

    def first_token(self, seconds: float) -> None:
        self._first.observe(seconds)

    def finished(self, turn: Turn, seconds: float) -> None:
        self._answer.observe(seconds)
        self._tokens.labels("prompt").inc(len(turn.prompt))
        self._tokens.labels("answer").inc(len(turn.said))
        self._turns.labels(turn.finish_reason).inc()
        if self.log_texts:
            access.info("turn", extra={"fields": {"turn": turn.id, "query": turn.query, "answer": turn.answer}})

    def left(self) -> None:
        self._turns.labels("left").inc()

    def memorized(self, seconds: float) -> None:
        self._update.observe(seconds)

    def page(self, sessions: Sessions, stats: Stats | None) -> bytes:
        """All of it, as text; ``stats``: None while the store is away, of which nothing is told then."""
        engine = sessions.engine
        self._running.set(engine.running)
        self._waiting.set(engine.waiting)
        self._updates.set(engine.updates)
        self._store_up.set(stats is not None)
        self._store.clear()
        for what, count in ({} if stats is None else vars(stats)).items():
            self._store.labels(what).set(count)
        return generate_latest(self._registry)


class _Together(Collector):
    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for replica, page in self._pages.items():
            for found in text_string_to_metric_families(page.decode()):
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    family.add_sample(sample.name, {**sample.labels, "replica": replica}, sample.value)
        return families.values()


def together(pages: Mapping[str, bytes]) -> bytes:
    """The pages of several servers as one, each count with the label ``replica``, which is the key of its page."""
    return generate_latest(_Together(pages))
