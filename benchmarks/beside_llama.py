"""A memory on a base beside llama.cpp with the same base, in turn within one run: medians.

    python benchmarks/beside_llama.py --llama PYTHON --base FILE.gguf [--model smollm2] [--pair int8:Q8_0] [--compiled]
        [--threads 1] [--clock processor] [--json FILE] [--plot FILE.svg]

PYTHON is the interpreter of an environment that has llama-cpp-python. ``--pair`` (again and again) says in which form
each side has the base's weights: ours float32, bfloat16, int8 or int4 (``rxt.quantize``); llama.cpp's F32, BF16, Q8_0,
or ``file`` for the file as it is. Both sides run in processes of their own with the same number of threads, one at a
time; each round asks both for the same thing, of random tokens: cost does not depend on what is said. llama.cpp answers
each turn twice: with its cache kept since the turn before, and reading the conversation again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from worker import Worker
from worker_loop import Sizes

from rxt.evaluation.latency import CostCurve, LatencyResult, Seconds, TurnTimes

TURNS = (1, 4, 16, 32, 64, 128, 256)
NOTHING = Seconds(0.0, 0.0, 0.0)
OURS, KEPT, AGAIN = "with our memory", "llama.cpp, cache kept", "llama.cpp, reading all again"


def compare(ours: Worker, theirs: Worker, turns: list[int], rounds: int, pair: str) -> dict[str, Any]:
    """Ask both for everything; a long reading again is timed once."""

    def both(what: str, times: int = rounds) -> tuple[list[float], list[float]]:
        pairs = [(ours.ask(what), theirs.ask(what)) for _ in range(times + 1)][1:]
        return [first for first, _ in pairs], [second for _, second in pairs]

    def show(what: str, mine: float, its: float, unit: str, scale: float = 1) -> None:
        print(f"{pair:14} {what:28} {mine * scale:12,.1f} {its * scale:12,.1f} {unit}", flush=True)

    found: dict[str, Any] = {}
    for what in ("decode", "together"):
        mine, its = both(what)
        ratio = median(a / b for a, b in zip(mine, its, strict=True))
        found[what] = {"ours": median(mine), "llama": median(its), "ratio": ratio}
        show(what, median(mine), median(its), f"tokens/s x {ratio:.2f}")
    found["update"] = median([ours.ask("update") for _ in range(rounds + 1)][1:])
    show("update", found["update"], 0, "ms", 1e3)
    found["turns"] = {}
    for turn in turns:
        again = [theirs.ask(f"first {turn} again") for _ in range(rounds if turn <= 64 else 1)]
        mine, its = both(f"first {turn}")  # its history has just been read
        kept = ours.ask(f"kept {turn}"), theirs.ask(f"kept {turn}")
        found["turns"][turn] = {"first": mine, "first_kept": its, "first_again": again, "bytes": kept}
        show(f"first token, turn {turn}", median(mine), median(its), f"ms; again {median(again) * 1e3:,.0f}", 1e3)
        show(f"kept, turn {turn}", kept[0], kept[1], "MB", 1e-6)
    return found


def overtakes(found: dict[str, Any], tokens: int) -> dict[str, float]:
    """The first turns at which llama.cpp's history costs more than our memory: in bytes, and in time to the first token
    between the turns that were timed, on a straight line."""
    turns = found["turns"]
    longest = max(turns)
    bytes_a_turn = turns[longest]["bytes"][1] / longest
    places = {"bytes": turns[longest]["bytes"][0] / bytes_a_turn}
    for name in ("first_kept", "first_again"):
        gaps = [(turn, median(at[name]) - median(at["first"])) for turn, at in turns.items()]
        crossing = [
            before + (turn - before) * -low / (high - low)
            for (before, low), (turn, high) in pairwise(gaps)
            if low < 0 <= high
        ]
        places[name] = 1.0 if gaps[0][1] >= 0 else crossing[0] if crossing else float("inf")
    return places


def curves(found: dict[str, Any], sizes: Sizes, threads: int, rounds: int, model: str) -> LatencyResult:
    """What ``rxt eval latency`` would have measured, to be drawn as it draws."""

    def curve(name: str, times: str, place: int | None) -> CostCurve:
        def at(turn: int) -> TurnTimes:
            one = found["turns"][turn]
            kept = 4 * turn * sizes.tokens if place is None else one["bytes"][place]  # reading again keeps tokens
            return TurnTimes(Seconds.of(one[times]), NOTHING, NOTHING, int(kept), 0)

        return CostCurve(name, 0, {turn: at(turn) for turn in found["turns"]})

    subjects = (curve(OURS, "first", 0), curve(AGAIN, "first_again", None), curve(KEPT, "first_kept", 1))
    answer = sizes.tokens - sizes.prompt_tokens
    return LatencyResult(model, threads, sizes.prompt_tokens, answer, rounds, 0, subjects, "llama.cpp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", required=True, metavar="PYTHON")
    parser.add_argument("--base", required=True, metavar="FILE")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--pair", action="append", metavar="OURS:THEIRS")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: time that other programs take does not count; with one thread",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", default=",".join(map(str, TURNS)))
    parser.add_argument("--query-tokens", type=int, default=16)
    parser.add_argument("--answer-tokens", type=int, default=16, help="of a turn of the history")
    parser.add_argument("--new-tokens", type=int, default=64, help="of the answer that is timed")
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--forms", type=Path, help="where llama.cpp's other forms of the base are kept")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="of the last pair")
    options = parser.parse_args()
    if options.clock == "processor" and options.threads != 1:
        parser.error("--clock processor adds up what all threads work: --threads 1")
    turns = [int(turn) for turn in options.turns.split(",")]
    tokens = options.query_tokens + options.answer_tokens
    sizes = Sizes(options.query_tokens, options.new_tokens, options.conversations, turns[-1], tokens)
    results: dict[str, Any] = {
        "threads": options.threads,
        "clock": options.clock,
        "compiled": options.compiled,
        "sizes": asdict(sizes),
    }
    with tempfile.TemporaryDirectory() as folder:
        for pair in options.pair or ["int8:Q8_0"]:
            form, _, other = pair.partition(":")
            config = {
                "model": options.model,
                "base": options.base,
                "ours": form,
                "theirs": other,
                "compiled": options.compiled,
                "threads": options.threads,
                "clock": options.clock,
                "turns": turns,
                "forms": str(options.forms or folder),
            }
            first = {"threads": options.threads, "config": config, "sizes": asdict(sizes)}
            ours, theirs = (
                Worker(sys.executable, "memory_worker.py", first),
                Worker(options.llama, "llama_worker.py", first),
            )
            found = results[pair] = compare(ours, theirs, turns, options.rounds, pair)
            ours.close()
            theirs.close()
            found["overtaken_at_turn"] = overtakes(found, tokens)
            print(f"{pair:14} our memory costs less from turn {found['overtaken_at_turn']}", flush=True)
            if options.plot:
                from rxt.evaluation.report.plots import cost_plot, standalone

                drawn = cost_plot(curves(found, sizes, options.threads, options.rounds, options.model))
                options.plot.write_text(standalone(drawn), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
