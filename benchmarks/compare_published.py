"""This project beside the published framework (rxlm 0.3.78), in turn within one run: medians, and medians of the
rounds' ratios.

    python benchmarks/compare_published.py --published PYTHON --preset rxt-alpha [--preset rxt-alpha-nano] [--json FILE]

PYTHON is the interpreter of an environment that has the framework (``pip install --no-deps rxlm==0.3.78`` beside torch,
transformers, tokenizers, huggingface_hub, nltk, scikit-learn and datasets). Both sides run in processes of their own
with the same number of threads, one at a time; each round asks both for the same thing. The framework is used from
outside only.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from worker import Worker
from worker_loop import Sizes

from rxt.config import FeedForwardConfig, MoEConfig
from rxt.presets import preset

COMPARED = {
    "decode": ("decode", False),
    "decode_compiled": ("decode", False),
    "decode_int8": ("decode", False),
    "decode_int8_compiled": ("decode", False),
    "memorize": ("memorize", True),
    "memorize_bfloat16": ("memorize", True),
    "joint": ("joint", False),
    "memory_aware": ("memory_aware", False),
}
"""What ours is called -> what theirs is called, and whether it is a time (less is better) instead of a rate."""


def sizes_of(name: str, vectorized: bool) -> dict[str, Any]:
    """A preset in plain numbers, for an environment without this project."""
    config = preset(name)
    decoder, encoder, memory = config.decoder, config.encoder, config.memory_attention
    assert isinstance(decoder.feed_forward, MoEConfig)
    assert isinstance(encoder.feed_forward, FeedForwardConfig)
    return {
        "preset": name,
        "layers": decoder.layers,
        "width": decoder.width,
        "heads": decoder.self_attention.heads,
        "decoder_dim": decoder.feed_forward.dim,
        "experts": decoder.feed_forward.experts,
        "top_k": decoder.feed_forward.top_k,
        "encoder_dim": encoder.feed_forward.dim,
        "vocab_size": decoder.vocab_size,
        "max_length": config.max_length,
        "slots": memory.slots,
        "variant": memory.variant,
        "vectorized": vectorized,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", required=True, metavar="PYTHON")
    parser.add_argument("--preset", action="append")
    parser.add_argument("--what", default=",".join(COMPARED), help="what to compare, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument(
        "--listed-experts", action="store_true", help="the framework's list of experts instead of its stacked ones"
    )
    parser.add_argument("--compiled", action="store_true", help="ours trains with compiled layers")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: seconds of work, beside programs that take some of the processor's time",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.what.split(",")
    if unknown := set(wanted) - COMPARED.keys():
        parser.error(f"--what {', '.join(sorted(unknown))}: there are {', '.join(COMPARED)}")
    if options.clock == "processor" and options.threads != 1:
        parser.error("--clock processor adds up what all threads work: --threads 1")
    sizes = Sizes(options.prompt_tokens, options.new_tokens, options.rows, options.turns, options.tokens)
    results: dict[str, Any] = {
        "threads": options.threads,
        "rounds": options.rounds,
        "compiled": options.compiled,
        "clock": options.clock,
        "sizes": asdict(sizes),
        "presets": {},
    }
    for name in options.preset or ["rxt-alpha", "rxt-alpha-nano"]:
        first = {
            "threads": options.threads,
            "config": sizes_of(name, not options.listed_experts)
            | {"compiled": options.compiled, "clock": options.clock},
            "sizes": asdict(sizes),
        }
        ours, theirs = (
            Worker(sys.executable, "our_worker.py", first),
            Worker(options.published, "published_worker.py", first),
        )
        found = results["presets"][name] = {}
        for what in wanted:
            other, is_time = COMPARED[what]
            pairs = [(ours.ask(what), theirs.ask(other)) for _ in range(options.warm_up + options.rounds)][
                options.warm_up :
            ]
            ratio = median(b / a if is_time else a / b for a, b in pairs)
            found[what] = {
                "ours": median(a for a, _ in pairs),
                "published": median(b for _, b in pairs),
                "ratio": ratio,
            }
            unit = "s" if is_time else "tokens/s"
            print(
                f"{name:16} {what:20} {found[what]['ours']:10.3f} "
                f"{found[what]['published']:10.3f} {unit:9} × {ratio:.2f}",
                flush=True,
            )
        ours.close()
        theirs.close()
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
