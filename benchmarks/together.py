"""Many conversations at once beside one: tokens a second of ``BatchDecoder``, in turn within one run.

python benchmarks/together.py --preset rxt-alpha [--conversations 16] [--new-tokens 48] [--rounds 5] [--compiled]
[--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch

import rxt
from rxt.bench.inference import random_ids
from rxt.generation.batch import BatchDecoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer


def tokens_per_second(batch: BatchDecoder, prompts: torch.Tensor, memory: Memory, new_tokens: int) -> float:
    """Of steps after the first token, all conversations together."""
    for row, prompt in enumerate(prompts):
        batch.admit(prompt, memory.select(row), max_new_tokens=new_tokens, stop_at_eos=False)
    batch.step()
    began, said = time.perf_counter(), 0
    while len(batch):
        said += len(batch.step())
    return said / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="rxt-alpha")
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = ReactiveTransformer(rxt.RxTConfig.preset(options.preset)).eval()
    many = options.conversations
    prompts, memory = (
        random_ids(model.config, many, options.prompt_tokens, 1, torch.device("cpu")),
        model.init_memory(many, seed=1),
    )
    found: dict[int, list[float]] = {1: [], many: []}
    batches = {count: BatchDecoder(model, count, options.compiled) for count in found}
    for round_ in range(options.rounds + 1):  # the first does not count
        for count, batch in batches.items():
            rate = tokens_per_second(batch, prompts[:count], memory, options.new_tokens)
            if round_:
                found[count].append(rate)
    ratio = median(together / alone for alone, together in zip(found[1], found[many], strict=True))
    results = {
        "preset": options.preset,
        "threads": torch.get_num_threads(),
        "compiled": options.compiled,
        "tokens_per_second": {count: median(rates) for count, rates in found.items()},
        "ratio": ratio,
    }
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
