"""What 8-bit weights cost and give: size, speed, perplexity and recall of one model, in float32 and quantized, side by
side.

    python benchmarks/int8.py [MODEL] [--data CHATS.jsonl] [--preset NAME] [--questions 64] [--compiled] [--json FILE]

MODEL is a folder or hub id; the bundled model when not given. Perplexity is that of the answers of generated
conversations of the test split, or of your own (``--data``). ``--preset`` adds speed and size of a published size with
random weights; they do not depend on the weights. ``--compiled`` times compiled steps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median

import torch

import rxt
from rxt.bench.inference import Setting, bench_decode
from rxt.data.readers import read_conversations
from rxt.data.template import Template
from rxt.evaluation.perplexity import measure_perplexity
from rxt.evaluation.retention import Plan, measure_retention
from rxt.evaluation.subject import Reactive
from rxt.pretrained import ReactiveTransformer, load_model
from rxt.tasks.everyday import generate

DISTANCES = (1, 2, 4, 8, 16, 32)
CONVERSATIONS, TURNS, SEED = 64, 24, 7
"""Generated for perplexity, with a seed that nothing else uses."""
Numbers = dict[str, float]


def size_and_speed(model: ReactiveTransformer, new_tokens: int, compiled: bool, rounds: int) -> dict[str, Numbers]:
    """Bytes of the decoder, and tokens a second of both in turn: each round times one, then the other."""
    small = rxt.quantize(model)
    found: dict[str, list[float]] = {"float32": [], "int8": []}
    for round_ in range(rounds):
        for name, which in (("float32", model), ("int8", small)):
            result = bench_decode(which, 1, 16, new_tokens, compiled, Setting(repeats=1, warm_up=1, seed=round_))
            found[name].append(result.steps_per_second)
    ratios = [b / a for a, b in zip(found["float32"], found["int8"], strict=True)]
    bytes_of = {"float32": decoder_bytes(model), "int8": decoder_bytes(small)}
    numbers = {
        name: {"decoder_megabytes": bytes_of[name] / 1e6, "tokens_per_second": median(found[name])} for name in found
    }
    return {**numbers, "ratio": {"speed": median(ratios), "size": bytes_of["int8"] / bytes_of["float32"]}}


def decoder_bytes(model: ReactiveTransformer) -> int:
    """Everything that the decoder keeps, the embedding included."""
    return sum(tensor.nbytes for tensor in [*model.decoder.parameters(), *model.decoder.buffers()])


def quality(model: ReactiveTransformer, template: Template, data: str | None, questions: int) -> Numbers:
    """Recall of facts by distance, and perplexity of answers."""
    plan = Plan(DISTANCES, questions)
    result = measure_retention(Reactive(model, template), "test", plan, seed=1)
    numbers = {f"recall_{distance}": score.share for distance, score in result.by_distance.items()}
    generated = (generate("test", TURNS, SEED, index).conversation for index in range(CONVERSATIONS))
    conversations = list(generated if data is None else read_conversations(data))
    return {**numbers, "perplexity": measure_perplexity(model, template, conversations, 1).kept.perplexity}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data")
    parser.add_argument("--preset", action="append", default=[])
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, tokenizer = load_model(options.model)
    template = Template.of_model(model.config, tokenizer)
    results: dict[str, object] = {"model": options.model or "bundled", "threads": torch.get_num_threads()}
    for name, which in (("float32", model), ("int8", rxt.quantize(model))):
        results[name] = quality(which, template, options.data, options.questions)
        print(name, json.dumps(results[name]), flush=True)
    for preset in options.preset:
        sized = ReactiveTransformer(rxt.RxTConfig.preset(preset)).eval()
        results[preset] = size_and_speed(sized, options.new_tokens, options.compiled, options.rounds)
        print(preset, json.dumps(results[preset]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
